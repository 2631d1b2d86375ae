// rwkvlab check: validates and prints the resolved experiment, or the variants of a sweep.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "base/error.h"
#include "cli/commands.h"
#include "config/yaml_writer.h"
#include "sweep/plan.h"

namespace rwkvlab::cli {
namespace {

int check_sweep(const SweepPlan& plan) {
  check_variants(plan);
  fmt::print("{}", sweep_summary(plan));
  return success;
}

int check(const ConfigArguments& arguments) {
  if (const std::filesystem::path folder = sweep_folder_of(arguments.file); !folder.empty()) {
    if (!arguments.settings.empty()) throw ConfigError("--set: a recorded sweep is what it was planned as");
    return check_sweep(plan_sweep(read_sweep_record(folder)));
  }
  const ExperimentFile file = read_experiment_file(arguments.file, arguments.settings);
  if (!file.sweep.is_null()) return check_sweep(plan_sweep(file));
  const LoadedExperiment loaded = load_experiment(file);
  const bool can_run = static_cast<bool>(loaded.experiment.data);
  if (can_run) {
    build_experiment(loaded);
  } else if (const Node* const size = loaded.tree.find_path("model.vocabulary_size");
             size != nullptr && size->integer() > 0) {
    build_model(loaded);
  }
  fmt::print("{}", to_yaml(loaded.tree, true));
  if (!can_run) fmt::print(stderr, "note: this file names no data, so it can be extended and described, but not run\n");
  return success;
}

}  // namespace

void add_check_command(const Command& program) {
  auto arguments = std::make_shared<ConfigArguments>();
  const Command command = program.command(
      "check",
      "validate an experiment file and print it with every default and where each value comes from; of a sweep, its "
      "runs");
  arguments->add_to(command);
  command.action([arguments] { return check(*arguments); });
}

}  // namespace rwkvlab::cli
