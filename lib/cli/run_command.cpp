// rwkvlab run: trains.
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <memory>

#include "analysis/decay_plot.h"
#include "analysis/loss_plot.h"
#include "analysis/token_decay.h"
#include "analysis/token_decay_plot.h"
#include "base/error.h"
#include "base/file.h"
#include "cli/interrupt.h"
#include "cli/run_arguments.h"
#include "kernels/parallel.h"
#include "record/run_file_reader.h"
#include "run/run_experiment.h"

namespace rwkvlab::cli {
namespace {
namespace fs = std::filesystem;

// Draws one figure and says where it is, or why there is none. A finished training is not spoilt by a missing gnuplot.
template <class Draw>
void draw(const fs::path& output, Draw&& plot) {
  try {
    plot();
    say("figure         {}\n", output.string());
  } catch (const Error& error) {
    say("figure         none: {}\n", error.what());
  }
}

// A model without any decay needs no figure of them, and a finished training no error.
bool can_draw_token_decays(const fs::path& run) {
  try {
    return has_token_decays(run);
  } catch (const Error&) {
    return false;
  }
}

void draw_figures(const RunResult& result) {
  const fs::path figures = result.folder / "figures";
  make_directories(figures);
  const fs::path loss = figures / "loss.svg", decay = figures / "decay.svg";
  draw(loss, [&] {
    LossPlotOptions options;
    options.runs = {result.folder};
    options.output = loss;
    plot_loss(options);
  });
  // Decays that are parameters are recorded when log.decays_every asks for them; what depends on the data is computed.
  if (!RunFileReader(result.run_file).list("decay/").empty()) {
    draw(decay, [&] {
      DecayPlotOptions options;
      options.source = result.run_file;
      options.output = decay;
      plot_decay(options);
    });
  } else if (can_draw_token_decays(result.folder)) {
    draw(decay, [&] {
      TokenDecayPlotOptions options;
      options.source = result.folder;
      options.output = decay;
      plot_token_decay(options);
    });
  }
}

void report_evaluation(const Evaluation& evaluation) {
  if (evaluation.bytes > 0) {
    say("held-out loss  {:.4f} bits per byte ({:.4f} nats per token)\n", evaluation.bits_per_byte, evaluation.loss);
  } else {
    say("held-out loss  {:.4f} {}\n", evaluation.loss, evaluation.unit.text());
  }
  if (!evaluation.accuracy) return;
  say("accuracy       {:.4f}\n", *evaluation.accuracy);
  for (const HeldOutMetric& metric : evaluation.metrics) say("{:<14} {:.4f}\n", metric.name, metric.value);
  for (const EvaluatedSet& set : evaluation.sets) say("  {:<44} {:.4f}\n", set.name, set.accuracy);
}

void report_profile(const RunResult& result) {
  if (!result.profiled_steps) return;
  if (*result.profiled_steps == 0) {
    say("profile        none: this run made no step of log.profile's\n");
  } else {
    say("profile        {} steps in {}\n", *result.profiled_steps, result.trace.string());
  }
}

// Ends, with a checkpoint, when the process that runs the sweep dies, however it does.
void die_with(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGINT);
  if (getppid() != parent) _exit(interrupted);
}

int run_single(const RunArguments& arguments) {
  const LoadedExperiment loaded = arguments.config.load();
  RunOptions options;
  options.folder = arguments.out;
  options.resume = arguments.resume;
  options.profile = arguments.profile;
  options.stop = &catch_interrupts();
  if (arguments.quiet) options.output = -1;
  const RunResult result = run_experiment(loaded, options);
  if (result.outcome == TrainingOutcome::interrupted) {
    say("interrupted after step {}; the same command with --resume continues\n", result.step);
    return interrupted;
  }
  say("\n");
  if (result.was_finished) say("this run had already finished, at step {}\n", result.step);
  if (result.evaluation) report_evaluation(*result.evaluation);
  if (result.tokens_per_second > 0) {
    const std::string read = result.evaluation ? result.evaluation->unit.read : LossMeasure().read;
    say("speed          {:.0f} {} per second in training\n", result.tokens_per_second, read);
  }
  report_profile(result);
  say("run file       {}\ncheckpoint     {}\n", result.run_file.string(), result.checkpoint.string());
  if (!arguments.no_figures) draw_figures(result);
  return success;
}

void refuse_sweep_options(const Command& command) {
  for (const char* const name : {"--jobs", "--only", "--launcher", "--slurm-option", "--index"}) {
    if (!command.given(name)) continue;
    throw ConfigError(fmt::format("{} is for sweeps, and this file has no 'sweep' section", name));
  }
}

int run(const RunArguments& arguments, const Command& command) {
  if (arguments.with_parent > 0) die_with(arguments.with_parent);
  if (arguments.quiet && std::freopen("/dev/null", "w", stdout) == nullptr) return failure;
  if (arguments.threads > 0) kernels::set_threads(arguments.threads);
  if (asks_for_sweep(arguments)) {
    if (arguments.profile) throw ConfigError("--profile is for single runs; in a sweep, set log.profile in the file");
    return run_sweep_command(arguments);
  }
  refuse_sweep_options(command);
  return run_single(arguments);
}

void add_sweep_options(const Command& command, RunArguments& arguments) {
  const char* const group = "Sweeps (docs/sweeps.md)";
  command.option("--jobs", arguments.jobs, "runs at a time, which share the threads; default: 1")
      .between(1, 1024)
      .type_name("N")
      .group(group);
  command.option("--only", arguments.only, "run the variants whose label matches; * and ? stand for any letters")
      .type_name("PATTERN")
      .group(group);
  command.option("--launcher", arguments.launcher, "slurm: write and submit a job array, and return")
      .one_of({"slurm"})
      .type_name("NAME")
      .group(group);
  command.option("--slurm-option", arguments.slurm_options, "a line '#SBATCH OPTION' of the job; may be repeated")
      .one_at_a_time()
      .type_name("OPTION")
      .group(group);
  command.option("--index", arguments.index, "this run of a sweep folder alone, counted from 0 (for job arrays)")
      .type_name("K")
      .group(group);
}

}  // namespace

void add_run_command(const Command& program) {
  auto arguments = std::make_shared<RunArguments>();
  const Command command = program.command("run", "train what an experiment file describes, or run its sweep");
  arguments->config.add_to(command);
  command.option("--out", arguments->out, "folder of the run or sweep; default: runs/NAME").type_name("DIR");
  command.flag("--resume", arguments->resume,
               "continue the run in that folder from its newest checkpoint; of a sweep, run "
               "what is missing");
  command.option("--threads", arguments->threads, "threads; default: the cores this process may use")
      .between(1, 1024)
      .type_name("N");
  command.flag("--no-figures", arguments->no_figures, "do not draw the figures at the end");
  command.flag("--profile", arguments->profile,
               "write where the time of steps 3 to 12, or of those in log.profile, goes to the run file and to "
               "trace.json (docs/performance.md)");
  command.flag("--quiet", arguments->quiet, "print errors alone");
  command.option("--with-parent", arguments->with_parent, "end when that process does").group("");
  add_sweep_options(command, *arguments);
  command.action([arguments, command] { return run(*arguments, command); });
}

}  // namespace rwkvlab::cli
