// rwkvlab bench context: what a training step costs when its tokens are cut into longer sequences.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "bench/context_bench.h"
#include "cli/bench_commands.h"
#include "kernels/parallel.h"

namespace rwkvlab::cli {
namespace {

struct ContextBenchArguments : BenchArguments {
  std::vector<std::string> names = {"rwkv4-small", "rwkv5-small", "rwkv6-small", "rwkv7-small", "transformer-small"};
  std::vector<std::string> settings;
  ContextBenchOptions options;
};

int bench_context_command(const ContextBenchArguments& arguments) {
  if (arguments.threads > 0) kernels::set_threads(arguments.threads);
  ContextBenchOptions options = arguments.options;
  options.repetitions = arguments.repetitions;
  options.seconds = arguments.seconds;
  std::vector<ContextBenchReport> reports;
  for (const std::string& name : arguments.names)
    reports.push_back(bench_context(workload_of(name, arguments.settings), options));
  return print_reports(arguments, reports);
}

}  // namespace

void add_bench_context(const Command& bench) {
  auto arguments = std::make_shared<ContextBenchArguments>();
  arguments->repetitions = arguments->options.repetitions;
  arguments->seconds = arguments->options.seconds;
  const Command command = bench.command(
      "context", "time a training step at several lengths of the context, with equally many tokens, in turns");
  command.option("WORKLOAD", arguments->names,
                 fmt::format("{}, or experiment files (.yaml); default: {}", fmt::join(language_workload_names(), ", "),
                             fmt::join(arguments->names, " ")));
  command
      .option("--contexts", arguments->options.contexts,
              fmt::format("lengths, as in 256,1024; default: {}", fmt::join(arguments->options.contexts, ",")))
      .delimiter(',')
      .positive();
  command.option("--tokens", arguments->options.tokens, "tokens of a step; the batch is this over the context")
      .positive()
      .show_default();
  add_settings_option(command, arguments->settings);
  arguments->add_to(command);
  add_output_option(command, *arguments);
  command.action([arguments] { return bench_context_command(*arguments); });
}

}  // namespace rwkvlab::cli
