// rwkvlab bench: how fast this machine is, and where the time goes.
#include <filesystem>

#include "base/error.h"
#include "cli/bench_commands.h"

namespace rwkvlab::cli {

bool is_experiment_file(const std::string& name) {
  const std::string extension = std::filesystem::path(name).extension();
  return extension == ".yaml" || extension == ".yml";
}

TrainWorkload workload_of(const std::string& name, const std::vector<std::string>& settings) {
  if (is_experiment_file(name)) return train_workload(load_experiment(name, settings));
  if (!settings.empty()) throw ConfigError("--set changes experiment files, and none was given: name a file");
  return train_workload(name);
}

void BenchArguments::add_to(const Command& command) {
  command.option("--threads", threads, "threads; default: all cores that the process may use").positive();
  command.option("--repetitions", repetitions, "repetitions of each measurement; the least is printed")
      .between(1, 1000)
      .show_default();
  command.option("--seconds", seconds, "least duration of one repetition").positive().show_default();
  command.flag("--json", as_json, "print JSON");
}

void add_settings_option(const Command& command, std::vector<std::string>& settings) {
  command.option("--set", settings, "change a value of the experiment file: path.to.key=value")
      .one_at_a_time()
      .type_name("KEY=VALUE");
}

void add_output_option(const Command& command, BenchArguments& arguments) {
  command.option("-o,--output", arguments.output, "also write the results as JSON, for `rwkvlab plot`")
      .type_name("FILE");
}

void add_bench_command(const Command& program) {
  const Command command = program.command("bench", "measure speed on this machine");
  command.needs_command();
  add_bench_train(command);
  add_bench_kernels(command);
  add_bench_data(command);
  add_bench_generate(command);
  add_bench_context(command);
  add_bench_resolution(command);
}

}  // namespace rwkvlab::cli
