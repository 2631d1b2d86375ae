// rwkvlab schema: the experiment file for editors and for readers.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "run/reference.h"

namespace rwkvlab::cli {

void add_schema_command(const Command& program) {
  auto as_markdown = std::make_shared<bool>(false);
  const Command command =
      program.command("schema", "print the JSON Schema of the experiment file; editors complete and validate with it");
  command.flag("--markdown", *as_markdown, "print the reference page docs/experiment_file.md instead");
  command.action([as_markdown] {
    fmt::print("{}", *as_markdown ? experiment_reference() : experiment_json_schema());
    return static_cast<int>(success);
  });
}

}  // namespace rwkvlab::cli
