// rwkvlab describe: the model as a tree, and what it costs.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "run/available_memory.h"
#include "run/describe.h"

namespace rwkvlab::cli {
namespace {

int describe(const ConfigArguments& arguments, bool as_json) {
  const LoadedExperiment loaded = arguments.load();
  if (loaded.experiment.sweep)
    fmt::print(stderr,
               "note: this file is a sweep (see `rwkvlab check`); described is the model that it starts from\n");
  const auto model = build_model(loaded);
  const ModelDescription description = describe_model(*model, describe_options(*model, loaded.experiment.train));
  const AvailableMemory available = available_memory();
  if (as_json) {
    nlohmann::ordered_json json = describe_json(description);
    json["memory_bytes"]["available"] = available.bytes;
    fmt::print("{}\n", json.dump(2));
  } else {
    fmt::print("{}  {:<26}{:>12}  {}\n", describe_text(description), "available here", bytes_text(available.bytes),
               available.limited_by);
  }
  return success;
}

}  // namespace

void add_describe_command(Program& program) {
  auto arguments = std::make_shared<ConfigArguments>();
  auto as_json = std::make_shared<bool>(false);
  CLI::App* const command = program.app.add_subcommand(
      "describe", "print the model of an experiment file: modules, parameters, cost, memory");
  arguments->add_to(*command);
  command->add_flag("--json", *as_json, "print JSON");
  command->callback([&program, arguments, as_json] {
    program.action = [arguments, as_json] { return describe(*arguments, *as_json); };
  });
}

}  // namespace rwkvlab::cli
