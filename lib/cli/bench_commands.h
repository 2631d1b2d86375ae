// The sub-commands of `rwkvlab bench`, each in a file of its own.
#pragma once

#include <string>
#include <vector>

#include "bench/train_bench.h"
#include "cli/commands.h"

namespace rwkvlab::cli {

void add_bench_train(CLI::App& bench, Program& program);
void add_bench_kernels(CLI::App& bench, Program& program);
void add_bench_generate(CLI::App& bench, Program& program);
void add_bench_data(CLI::App& bench, Program& program);

/// What all of them take.
struct BenchArguments {
  int threads = 0;
  int repetitions = 5;   ///< of each measurement
  double seconds = 1.0;  ///< that one repetition lasts at least
  bool as_json = false;

  void add_to(CLI::App& command);
};

/// Whether a name is that of a YAML file.
bool is_experiment_file(const std::string& name);
/// A named workload, or that of an experiment file, which `settings` may change.
TrainWorkload workload_of(const std::string& name, const std::vector<std::string>& settings);

/// `--set` of the sub-commands that take experiment files.
void add_settings_option(CLI::App& command, std::vector<std::string>& settings);

}  // namespace rwkvlab::cli
