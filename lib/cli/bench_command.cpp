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

void BenchArguments::add_to(CLI::App& command) {
  command.add_option("--threads", threads, "threads; default: all cores that the process may use")
      ->check(CLI::PositiveNumber);
  command.add_option("--repetitions", repetitions, "repetitions of each measurement; the least is printed")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command.add_option("--seconds", seconds, "least duration of one repetition")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_flag("--json", as_json, "print JSON");
}

void add_settings_option(CLI::App& command, std::vector<std::string>& settings) {
  command.add_option("--set", settings, "change a value of the experiment file: path.to.key=value")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
}

void add_output_option(CLI::App& command, BenchArguments& arguments) {
  command.add_option("-o,--output", arguments.output, "also write the results as JSON, for `rwkvlab plot`")
      ->type_name("FILE");
}

void add_bench_command(Program& program) {
  CLI::App* const command = program.app.add_subcommand("bench", "measure speed on this machine");
  command->require_subcommand(1);
  add_bench_train(*command, program);
  add_bench_kernels(*command, program);
  add_bench_data(*command, program);
  add_bench_generate(*command, program);
  add_bench_context(*command, program);
  add_bench_resolution(*command, program);
}

}  // namespace rwkvlab::cli
