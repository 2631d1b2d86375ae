#include "cli/commands.h"

namespace rwkvlab::cli {

void ConfigArguments::add_to(const Command& command) {
  command.option("CONFIG", file, "experiment file (YAML)").required();
  command.option("--set", settings, "change a value: path.to.key=value; may be repeated")
      .one_at_a_time()
      .type_name("KEY=VALUE");
}

}  // namespace rwkvlab::cli
