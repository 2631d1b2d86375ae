// rwkvlab bench generate: how fast tokens come, against reading the weights.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "bench/generate_bench.h"
#include "cli/bench_commands.h"
#include "kernels/parallel.h"

namespace rwkvlab::cli {
namespace {

struct GenerateBenchArguments : BenchArguments {
  std::vector<std::string> names = {"rwkv4-169m", "rwkv7-0.1b"}, settings, formats = weight_format_names();
  GenerateBenchOptions options;
};

int bench_generate_command(const GenerateBenchArguments& arguments) {
  if (arguments.threads > 0) kernels::set_threads(arguments.threads);
  GenerateBenchOptions options = arguments.options;
  options.repetitions = arguments.repetitions;
  options.seconds = arguments.seconds;
  std::vector<GenerateBenchReport> reports;
  for (const std::string& name : arguments.names) {
    const TrainWorkload workload =
        is_experiment_file(name) ? workload_of(name, arguments.settings) : generate_workload(name);
    for (const std::string& format : arguments.formats) {
      options.format = weight_format_named(format);
      reports.push_back(bench_generate(workload, options));
    }
  }
  return print_reports(arguments, reports);
}

}  // namespace

void add_bench_generate(const Command& bench) {
  auto arguments = std::make_shared<GenerateBenchArguments>();
  const Command command =
      bench.command("generate", "time the next token against reading the weights, in turns within one run");
  command.option("WORKLOAD", arguments->names,
                 fmt::format("{}, or experiment files (.yaml); default: {}", fmt::join(generate_workload_names(), ", "),
                             fmt::join(arguments->names, " ")));
  command.option("--format", arguments->formats, "weights: float32, bfloat16, int8; default: all of these")
      .delimiter(',')
      .one_of(weight_format_names());
  command
      .option("--positions", arguments->options.positions,
              "how many tokens come before the one that is timed, as in 0,1000,10000; default: 16")
      .delimiter(',')
      .not_negative();
  command.flag("--cumulative", arguments->options.cumulative,
               "also generate all tokens up to the last of these positions one by one, and time that");
  command.option("--batch", arguments->options.sequences, "sequences that are continued together")
      .between(1, 4096)
      .show_default();
  add_settings_option(command, arguments->settings);
  arguments->add_to(command);
  add_output_option(command, *arguments);
  command.action([arguments] { return bench_generate_command(*arguments); });
}

}  // namespace rwkvlab::cli
