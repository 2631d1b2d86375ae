// The sub-commands of `rwkvlab bench`, each in a file of its own.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "bench/train_bench.h"
#include "cli/commands.h"

namespace rwkvlab::cli {

void add_bench_train(const Command& bench);
void add_bench_kernels(const Command& bench);
void add_bench_generate(const Command& bench);
void add_bench_context(const Command& bench);
void add_bench_resolution(const Command& bench);
void add_bench_data(const Command& bench);

/// What all of them take.
struct BenchArguments {
  int threads = 0;
  int repetitions = 5;   ///< of each measurement
  double seconds = 1.0;  ///< that one repetition lasts at least
  bool as_json = false;
  std::filesystem::path output;  ///< for the results as JSON, beside what is printed; empty: none

  void add_to(const Command& command);
};

/// Whether a name is that of a YAML file.
bool is_experiment_file(const std::string& name);
/// A named workload, or that of an experiment file, which `settings` may change.
TrainWorkload workload_of(const std::string& name, const std::vector<std::string>& settings);

/// `--set` of the sub-commands that take experiment files.
void add_settings_option(const Command& command, std::vector<std::string>& settings);

/// `--output` of the sub-commands whose results `rwkvlab plot` draws.
void add_output_option(const Command& command, BenchArguments& arguments);

/// Prints what was measured, as text or JSON, and writes the file that was asked for.
template <class Reports>
int print_reports(const BenchArguments& arguments, const Reports& reports) {
  const std::string as_json = json(reports).dump(2) + "\n";
  if (!arguments.output.empty()) write_atomically(arguments.output, as_json);
  fmt::print("{}", arguments.as_json ? as_json : text(reports));
  return success;
}

}  // namespace rwkvlab::cli
