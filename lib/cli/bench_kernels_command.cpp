// rwkvlab bench kernels: every kernel alone.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "bench/kernel_bench.h"
#include "cli/bench_commands.h"
#include "kernels/parallel.h"

namespace rwkvlab::cli {
namespace {

struct KernelArguments : BenchArguments {
  std::vector<std::string> names;
};

int bench_kernels_command(const KernelArguments& arguments) {
  KernelBenchOptions options;
  options.names = arguments.names;
  options.threads = {1, kernels::threads()};
  if (arguments.threads > 0 || kernels::threads() == 1) options.threads = {std::max(1, arguments.threads)};
  options.repetitions = arguments.repetitions;
  options.seconds = arguments.seconds;
  const std::vector<KernelBenchReport> reports = bench_kernels(options);
  fmt::print("{}", arguments.as_json ? json(reports).dump(2) + "\n" : text(reports));
  return success;
}

}  // namespace

void add_bench_kernels(const Command& bench) {
  auto arguments = std::make_shared<KernelArguments>();
  arguments->repetitions = 3;
  arguments->seconds = 0.02;
  const Command kernels = bench.command(
      "kernels", "time every kernel alone, at the sizes of the small workload, with one thread and with all");
  kernels.option("NAME,--filter", arguments->names, "kernels whose name contains this, or matches it with * and ?")
      .type_name("PATTERN");
  arguments->add_to(kernels);
  kernels.action([arguments] { return bench_kernels_command(*arguments); });
}

}  // namespace rwkvlab::cli
