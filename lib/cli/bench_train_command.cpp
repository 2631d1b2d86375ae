// rwkvlab bench train: what a training step costs, beside the cost of its matrix products alone, and where it goes.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "bench/train_bench.h"
#include "cli/bench_commands.h"
#include "kernels/parallel.h"

namespace rwkvlab::cli {
namespace {

struct TrainArguments : BenchArguments {
  std::string workload = "small", against, precision, recompute, trace;
  std::vector<std::string> settings;
  TrainBenchOptions options;
  BreakdownView view;
};

void set_recompute(TrainWorkload& workload, const std::string& recompute) {
  if (workload.image_model) {
    throw ConfigError(
        "--recompute is for language models; for models of images set model.recompute in an experiment file");
  }
  workload.model.recompute = recompute;
  if (recompute != "none") workload.name += " with recompute: " + recompute;
}

int bench_train_command(const TrainArguments& arguments) {
  if (arguments.threads > 0) kernels::set_threads(arguments.threads);
  TrainWorkload workload = workload_of(arguments.workload, arguments.settings);
  if (!arguments.precision.empty()) workload.precision = arguments.precision;
  if (!arguments.recompute.empty()) set_recompute(workload, arguments.recompute);
  const std::string note = precision_note(workload.precision);
  if (!note.empty()) fmt::print(stderr, "note: {}\n", note);
  std::optional<TrainWorkload> against;
  if (!arguments.against.empty()) against = workload_of(arguments.against, {});
  TrainBenchOptions options = arguments.options;
  options.repetitions = arguments.repetitions;
  options.seconds = arguments.seconds;
  const TrainBenchReport report = bench_train(workload, options, against ? &*against : nullptr);
  if (!arguments.trace.empty()) write_atomically(arguments.trace, report.breakdown.trace);
  fmt::print("{}", arguments.as_json ? json(report, arguments.view).dump(2) + "\n" : text(report, arguments.view));
  return success;
}

}  // namespace

void add_bench_train(const Command& bench) {
  auto arguments = std::make_shared<TrainArguments>();
  const Command train =
      bench.command("train", "time a training step against its matrix products alone, in turns within one run");
  const std::string names = fmt::format("{}, or an experiment file (.yaml)", fmt::join(train_workload_names(), ", "));
  train.option("WORKLOAD,--workload", arguments->workload, "model and batch: " + names).show_default();
  train.option("--against", arguments->against, "another workload whose step is timed in turns with this one");
  add_settings_option(train, arguments->settings);
  train
      .option("--precision", arguments->precision,
              "of the matrix products (train.precision); default: the experiment file's, else float32")
      .one_of({float32_precision, bfloat16_precision});
  train
      .option("--recompute", arguments->recompute,
              "what the backward pass computes again (model.recompute); default: the experiment file's, else nothing")
      .one_of({"none", "blocks"});
  train
      .option("--breakdown", arguments->view.tables,
              "where the step goes: every operation, every module, or both; default: the operations that take most")
      .one_of({"none", "operations", "modules", "both"});
  train.flag("--per-layer", arguments->view.per_layer, "modules of every layer separately");
  train.option("--profiled-steps", arguments->options.profiled_steps, "steps that the breakdown is the mean of")
      .between(1, 1000)
      .show_default();
  train.option("--trace", arguments->trace, "also write the profiled steps as a trace for Perfetto").type_name("FILE");
  arguments->add_to(train);
  train.action([arguments] { return bench_train_command(*arguments); });
}

}  // namespace rwkvlab::cli
