// rwkvlab bench data: how fast batches are made.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "bench/data_bench.h"
#include "cli/bench_commands.h"
#include "kernels/parallel.h"

namespace rwkvlab::cli {
namespace {

struct DataArguments : BenchArguments {
  std::vector<std::string> names, settings;
};

int bench_data_command(const DataArguments& arguments) {
  if (arguments.threads > 0) kernels::set_threads(arguments.threads);
  TrainBenchOptions options;
  options.repetitions = arguments.repetitions;
  options.seconds = arguments.seconds;
  std::vector<TrainWorkload> workloads;
  bool has_file = false;
  for (const std::string& name : arguments.names.empty() ? data_workload_names() : arguments.names) {
    const bool is_file = is_experiment_file(name);
    has_file |= is_file;
    workloads.push_back(is_file ? workload_of(name, arguments.settings) : data_workload(name));
  }
  if (!has_file && !arguments.settings.empty()) {
    throw ConfigError("--set changes experiment files, and none was given: name a file");
  }
  std::vector<DataBenchRow> rows;
  for (const TrainWorkload& workload : workloads) rows.push_back(bench_data(workload, options));
  fmt::print("{}", arguments.as_json ? json(rows).dump(2) + "\n" : text(rows));
  return success;
}

}  // namespace

void add_bench_data(const Command& bench) {
  auto arguments = std::make_shared<DataArguments>();
  arguments->repetitions = 3;
  arguments->seconds = 0.2;
  const Command data =
      bench.command("data", "time the making of batches beside training steps of a small model on them");
  data.option("NAME", arguments->names,
              fmt::format("{}, or experiment files (.yaml), whose own models are trained; default: all of these",
                          fmt::join(data_workload_names(), ", ")));
  add_settings_option(data, arguments->settings);
  arguments->add_to(data);
  data.action([arguments] { return bench_data_command(*arguments); });
}

}  // namespace rwkvlab::cli
