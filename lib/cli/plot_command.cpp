// rwkvlab plot: figures from run files and checkpoints.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "analysis/accuracy_plot.h"
#include "analysis/bench_plots.h"
#include "analysis/curves_plot.h"
#include "analysis/decay_plot.h"
#include "analysis/loss_plot.h"
#include "analysis/position_plot.h"
#include "analysis/receptive_field_plot.h"
#include "analysis/token_decay_plot.h"
#include "base/error.h"
#include "cli/commands.h"

namespace rwkvlab::cli {
namespace {

struct DecayArguments {
  DecayPlotOptions options;
  std::int64_t step = -1;
  TokenDecayPlotOptions tokens;
  bool over_text = false;
  int layer = 0, head = 0;
};

struct LossArguments {
  LossPlotOptions options;
  bool bits = false;
};

int report(const FigureFiles& files) {
  fmt::print("{}\n", files.figure.string());
  return success;
}

Argument add_output(const Command& command, std::filesystem::path& output, std::string& title) {
  command.option("--title", title, "text above the figure");
  return command
      .option("-o,--output", output, "figure to write: .svg, .pdf or .png; its gnuplot script stays beside it")
      .required()
      .type_name("FILE");
}

int decay(DecayArguments& arguments, const Command& command) {
  const auto given = [&command](const char* name) { return command.given(name); };
  bool over_text = arguments.over_text;
  for (const char* const name : {"--text", "--tokens", "--tokenizer", "--heatmap", "--layer", "--head"}) {
    over_text = over_text || given(name);
  }
  if (!over_text) {
    if (arguments.step >= 0) arguments.options.step = arguments.step;
    return report(plot_decay(arguments.options));
  }
  for (const char* const name : {"--step", "--over-training"}) {
    if (given(name))
      throw ConfigError(fmt::format("{} is for decays that are parameters, not for those over a text", name));
  }
  TokenDecayPlotOptions options = arguments.tokens;
  options.source = arguments.options.source;
  options.output = arguments.options.output;
  options.title = arguments.options.title;
  options.half_life = arguments.options.half_life;
  if (given("--layer")) options.layer = arguments.layer;
  if (given("--head")) options.head = arguments.head;
  return report(plot_token_decay(options));
}

void add_decay(const Command& plot) {
  auto arguments = std::make_shared<DecayArguments>();
  const Command command = plot.command("decay", "time decay of every channel, sorted, one line per layer");
  command.option("SOURCE", arguments->options.source, "run folder, run file, checkpoint, .safetensors or .pth file")
      .required();
  add_output(command, arguments->options.output, arguments->options.title);
  command.flag("--over-training", arguments->options.over_training, "how the decays moved during the training");
  command.flag("--map", arguments->options.map,
               "all layers and channels as colours, at the beginning and the end of a run");
  command.flag("--profile", arguments->options.profile,
               "of Vision-RWKV's spatial decays: the weight against the distance, a panel per layer");
  command.flag("--half-life", arguments->options.half_life, "half-life in tokens instead of the decay");
  command.option("--step", arguments->step, "the last record at or before this step; default: the last of all")
      .at_least(0)
      .type_name("N");
  auto& tokens = arguments->tokens;
  const std::string group = "Decays that depend on the data (RWKV-6, RWKV-7, gated linear attention, Mamba-2)";
  command.flag("--over-text", arguments->over_text, "their distribution per head over a text").group(group);
  command.option("--text", tokens.text, "the text; default: held-out data of the run").type_name("FILE").group(group);
  command.option("--tokens", tokens.tokens, "at most so many tokens of it; default: the run's context, 64 for a map")
      .at_least(1)
      .type_name("N")
      .group(group);
  command.option("--tokenizer", tokens.tokenizer, "vocabulary file, for official weights")
      .type_name("FILE")
      .group(group);
  command.flag("--heatmap", tokens.heat_map, "token by token, for every head").group(group);
  command.option("--layer", arguments->layer, "one layer alone").type_name("N").group(group);
  command.option("--head", arguments->head, "the channels of this head, with --heatmap and --layer")
      .type_name("N")
      .group(group);
  command.action([arguments, command] { return decay(*arguments, command); });
}

void add_loss(const Command& plot) {
  auto arguments = std::make_shared<LossArguments>();
  const Command command = plot.command("loss", "training and held-out loss of one or several runs");
  command.option("RUN", arguments->options.runs, "run folders or run files").required();
  add_output(command, arguments->options.output, arguments->options.title);
  command.option("--label", arguments->options.labels, "name of a run in the legend; one for each run")
      .one_at_a_time()
      .type_name("TEXT");
  command.flag("--bits", arguments->bits, "bits per byte instead of nats per token");
  command.option("--smooth", arguments->options.smoothing, "smooth the training loss over so many steps")
      .at_least(0)
      .type_name("STEPS");
  command.flag("--log-steps", arguments->options.logarithmic_steps, "logarithmic axis of steps");
  command.action([arguments] {
    if (arguments->bits) arguments->options.unit = LossUnit::bits_per_byte;
    return report(plot_loss(arguments->options));
  });
}

Argument add_names(const Command& command, const char* name, std::vector<std::string>& list, const char* doc) {
  return command.option(name, list, doc).delimiter(',').one_at_a_time().type_name("NAME,...");
}

// What figures over sweeps have in common.
template <class Options>
void add_sweep_options(const Command& command, Options& options) {
  command.option("SOURCE", options.sources, "a sweep folder, or run folders and run files").required();
  add_output(command, options.output, options.title);
  add_names(command, "--metric", options.metrics,
            "metrics of the run file, such as eval/accuracy; a row of panels each");
  add_names(command, "--group", options.group, "axes that tell the lines apart; default: all that are left");
  command.option("--panels", options.panels, "axis with one panel for each of its values").type_name("AXIS");
  command.flag("--log-x", options.logarithmic_x, "logarithmic horizontal axis");
}

void add_curves(const Command& plot) {
  auto options = std::make_shared<CurvesPlotOptions>();
  const Command command =
      plot.command("curves", "learning curves of a sweep's variants: mean and deviation over seeds");
  add_sweep_options(command, *options);
  command.option("--x", options->x, "step (default) or tokens").type_name("WHAT");
  command.option("--smooth", options->smoothing, "smooth every run over so many steps").at_least(0).type_name("STEPS");
  command.action([options] { return report(plot_curves(*options)); });
}

void add_accuracy(const Command& plot) {
  auto options = std::make_shared<AccuracyPlotOptions>();
  const Command command =
      plot.command("accuracy", "results of a sweep along one of its axes: mean and deviation over seeds");
  add_sweep_options(command, *options);
  command.option("--x", options->x, "axis of the sweep, such as model.width").required().type_name("AXIS");
  command.option("--value", options->value, "which record of a run counts")
      .one_of({"last", "best", "first"})
      .type_name("RECORD");
  command.action([options] { return report(plot_accuracy(*options)); });
}

void add_positions(const Command& plot) {
  auto options = std::make_shared<PositionPlotOptions>();
  const Command command = plot.command("positions", "loss by position, as `rwkvlab eval text` has recorded it");
  command.option("SOURCE", options->sources, "run folders that were evaluated, or files of `eval text -o`").required();
  add_output(command, options->output, options->title);
  command.option("--label", options->labels, "name in the legend; one for each source")
      .one_at_a_time()
      .type_name("TEXT");
  command.option("--name", options->name, "one evaluation alone; default: all").type_name("NAME");
  command.option("--smooth", options->smoothing, "smooth over so many positions").at_least(0).type_name("POSITIONS");
  command.flag("--log-x", options->logarithmic_x, "logarithmic axis of positions");
  command.action([options] { return report(plot_positions(*options)); });
}

void add_receptive_field(const Command& plot) {
  auto options = std::make_shared<ReceptiveFieldPlotOptions>();
  const Command command = plot.command(
      "receptive_field", "which pixels the middle of an image model depends on, before and after its training");
  command.option("RUN", options->runs, "run folders or checkpoints of models of images").required();
  add_output(command, options->output, options->title);
  command.option("--label", options->labels, "name of a run in its maps' titles; one for each run")
      .one_at_a_time()
      .type_name("TEXT");
  command.option("--images", options->images, "held-out images, at most so many; default: 50")
      .at_least(1)
      .type_name("N");
  command.action([options] { return report(plot_receptive_field(*options)); });
}

void add_bench_plot(const Command& plot, const char* name, const char* doc, const std::vector<std::string>& quantities,
                    FigureFiles (*draw)(const BenchPlotOptions&)) {
  auto options = std::make_shared<BenchPlotOptions>();
  const Command command = plot.command(name, doc);
  command.option("FILE", options->files, "what `rwkvlab bench` has written with -o").required();
  add_output(command, options->output, options->title);
  command.option("--y", options->y, "what is shown; default: " + quantities.front())
      .one_of(quantities)
      .type_name("WHAT");
  command.action([options, draw] { return report(draw(*options)); });
}

}  // namespace

void add_plot_command(const Command& program) {
  const Command plot = program.command("plot", "draw figures from runs and checkpoints");
  plot.needs_command();
  add_decay(plot);
  add_loss(plot);
  add_curves(plot);
  add_accuracy(plot);
  add_positions(plot);
  add_receptive_field(plot);
  add_bench_plot(plot, "generation", "time and memory of a token against its position (bench generate)",
                 generation_quantities(), plot_generation);
  add_bench_plot(plot, "context", "time and memory of a training step against the context (bench context)",
                 context_quantities(), plot_context);
  add_bench_plot(plot, "resolution",
                 "time and memory of models of images against the size of the images (bench resolution)",
                 resolution_quantities(), plot_resolution);
}

}  // namespace rwkvlab::cli
