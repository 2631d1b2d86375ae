// rwkvlab bench resolution: what an image costs against its size.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "bench/resolution_bench.h"
#include "cli/bench_commands.h"
#include "kernels/parallel.h"

namespace rwkvlab::cli {
namespace {

struct ResolutionBenchArguments : BenchArguments {
  std::vector<std::string> names = {"vrwkv-tiny", "vit-tiny"};
  std::vector<std::string> settings;
  ResolutionBenchOptions options;
};

int bench_resolution_command(const ResolutionBenchArguments& arguments) {
  if (arguments.threads > 0) kernels::set_threads(arguments.threads);
  ResolutionBenchOptions options = arguments.options;
  options.repetitions = arguments.repetitions;
  options.seconds = arguments.seconds;
  std::vector<TrainWorkload> workloads;
  for (const std::string& name : arguments.names) workloads.push_back(workload_of(name, arguments.settings));
  return print_reports(arguments, bench_resolution(workloads, options));
}

}  // namespace

void add_bench_resolution(const Command& bench) {
  auto arguments = std::make_shared<ResolutionBenchArguments>();
  arguments->repetitions = arguments->options.repetitions;
  arguments->seconds = arguments->options.seconds;
  const Command command = bench.command(
      "resolution",
      "time and memory of models of images against the size of the images, in turns, and where they cross");
  command.option("WORKLOAD", arguments->names,
                 fmt::format("vrwkv-tiny, vrwkv6-tiny, vit-tiny, or experiment files (.yaml); default: {}",
                             fmt::join(arguments->names, " ")));
  command
      .option("--sides", arguments->options.sides,
              fmt::format("sides of the images in pixels; default: {}", fmt::join(arguments->options.sides, ",")))
      .delimiter(',')
      .positive();
  command.option("--batch", arguments->options.batch, "images of a batch").positive().show_default();
  command.flag("--training", arguments->options.training, "also forward and backward passes");
  add_settings_option(command, arguments->settings);
  arguments->add_to(command);
  add_output_option(command, *arguments);
  command.action([arguments] { return bench_resolution_command(*arguments); });
}

}  // namespace rwkvlab::cli
