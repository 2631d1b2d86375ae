// rwkvlab run of a file with a sweep, or of a sweep folder.
#include "analysis/sweep_tables.h"
#include "base/error.h"
#include "cli/interrupt.h"
#include "cli/run_arguments.h"
#include "kernels/parallel.h"
#include "run/run_experiment.h"
#include "run/run_folder.h"
#include "sweep/child_process.h"
#include "sweep/run_sweep.h"
#include "sweep/slurm.h"

namespace rwkvlab::cli {
namespace {
namespace fs = std::filesystem;

bool is_folder(const std::string& name) {
  std::error_code ignored;
  return fs::is_directory(name, ignored);
}

// SWEEP/sweep.yaml in place of an experiment file: the same sweep again, in another folder.
bool is_record(const std::string& name) { return !is_folder(name) && !sweep_folder_of(name).empty(); }

void refuse_settings(const RunArguments& arguments) {
  if (arguments.config.settings.empty()) return;
  throw ConfigError(
      "--set: a recorded sweep runs as it was planned; change the experiment file, or start a new sweep from it");
}

struct Planned {
  SweepPlan plan;
  fs::path folder;
};

Planned plan_of(const RunArguments& arguments) {
  const std::string& name = arguments.config.file;
  if (is_folder(name)) {
    refuse_settings(arguments);
    if (!arguments.out.empty()) {
      throw ConfigError(
          fmt::format("--out: the sweep in '{}' continues there; to run it again elsewhere, name its "
                      "record: rwkvlab run {} --out DIR",
                      name, (fs::path(name) / "sweep.yaml").string()));
    }
    if (!arguments.resume)
      throw ConfigError(fmt::format("'{}' is a sweep folder; run what is missing in it with --resume", name));
    return {plan_sweep(read_sweep_record(name)), name};
  }
  Planned planned;
  if (is_record(name)) {
    refuse_settings(arguments);
    planned.plan = plan_sweep(read_sweep_record(fs::absolute(name).parent_path()));
  } else {
    planned.plan = plan_sweep(read_experiment_file(name, arguments.config.settings));
    check_variants(planned.plan);
  }
  planned.folder = arguments.out.empty() ? fs::path("runs") / planned.plan.record.name : fs::path(arguments.out);
  return planned;
}

SweepFolder open_folder(Planned& planned, bool resume) {
  return resume ? SweepFolder::resume(planned.folder, planned.plan) : SweepFolder::create(planned.folder, planned.plan);
}

// One run of the sweep in this process, for job arrays.
int run_one(const RunArguments& arguments) {
  if (!is_folder(arguments.config.file)) throw ConfigError("--index is for a sweep folder: rwkvlab run SWEEP --resume");
  const Planned planned = plan_of(arguments);
  const std::vector<SweepRun>& runs = planned.plan.record.runs;
  if (*arguments.index >= runs.size()) {
    throw ConfigError(fmt::format("--index: the sweep has {} runs, so {} is no index of one; the indices are 0 to {}",
                                  runs.size(), *arguments.index, runs.size() - 1));
  }
  const SweepRun& run = runs[*arguments.index];
  const fs::path folder = planned.folder / run.folder;
  say("run {}: {}, seed {}\n", *arguments.index, run.variant, run.seed);
  std::fflush(stdout);  // Progress does not go through this buffer.
  if (run_state(planned.folder, run) == RunState::done) {
    say("this run had already finished\n");
    return success;
  }
  RunOptions options;
  options.folder = folder;
  options.resume = is_run_folder(folder);
  options.stop = &catch_interrupts();
  try {
    const fs::path file = variant_file(planned.folder, planned.plan.variant_of(run));
    const RunResult result = run_experiment(load_experiment(file, {fmt::format("seed={}", run.seed)}), options);
    return result.outcome == TrainingOutcome::interrupted ? interrupted : success;
  } catch (const Error& error) {
    if (!is_run_in_use(folder))
      note_failure(folder, dynamic_cast<const NonFiniteError*>(&error) != nullptr, error.what());
    throw;
  }
}

int submit(const RunArguments& arguments, Planned& planned) {
  check_slurm_options(arguments.slurm_options);  // Before there is a folder.
  const SweepFolder folder = open_folder(planned, arguments.resume);
  SlurmJob job;
  job.name = planned.plan.record.name;
  job.program = own_program();
  job.sweep = fs::absolute(folder.path()).lexically_normal();
  if (!job.sweep.has_filename()) job.sweep = job.sweep.parent_path();
  job.jobs = arguments.jobs;
  job.threads = arguments.threads > 0 ? arguments.threads : 1;
  job.options = arguments.slurm_options;
  const SweepRun* const first = planned.plan.record.runs.data();
  for (const SweepRun* const run : chosen_runs(planned.plan, arguments.only)) {
    const RunState state = run_state(folder.path(), *run);
    if (state != RunState::done && state != RunState::in_use) job.runs.push_back(static_cast<std::size_t>(run - first));
  }
  if (job.runs.empty()) {
    say("nothing is missing in {}\n", folder.path().string());
    return success;
  }
  const std::string number = submit_to_slurm(job);
  say("submitted job {}: {} task{} for {}\n", number, job.runs.size(), job.runs.size() == 1 ? "" : "s",
      job.sweep.string());
  say("when it has ended: rwkvlab table {}\n", folder.path().string());
  return success;
}

void print_tables(const fs::path& folder) {
  try {
    const std::string text = write_sweep_tables(folder);
    say("\n{}{}", text, text.ends_with('\n') ? "" : "\n");
  } catch (const Error& error) {
    say("table  none: {}\n", error.what());
  }
}

}  // namespace

bool asks_for_sweep(const RunArguments& arguments) {
  const std::string& name = arguments.config.file;
  if (is_folder(name) && !is_sweep_folder(name)) {
    throw ConfigError(
        fmt::format("'{}' is a folder, but no sweep folder: it holds no sweep.yaml. Name an experiment "
                    "file{}",
                    name, is_run_folder(name) ? ", and this folder of a run with --out" : ""));
  }
  return is_folder(name) || is_record(name) || !read_experiment_file(name, arguments.config.settings).sweep.is_null();
}

int run_sweep_command(const RunArguments& arguments) {
  if (arguments.index) return run_one(arguments);
  Planned planned = plan_of(arguments);
  chosen_runs(planned.plan, arguments.only);  // A pattern that matches nothing is said before anything is written.
  if (!arguments.launcher.empty()) return submit(arguments, planned);
  if (!arguments.slurm_options.empty()) throw ConfigError("--slurm-option is for --launcher slurm");
  const std::atomic<bool>& stop = catch_interrupts();
  const SweepFolder folder = open_folder(planned, arguments.resume);
  SweepOptions options;
  options.program = own_program();
  options.jobs = arguments.jobs > 0 ? arguments.jobs : 1;
  options.threads = arguments.threads > 0 ? arguments.threads : kernels::threads();
  options.only = arguments.only;
  options.stop = &stop;
  if (arguments.quiet) options.output = -1;
  const SweepOutcome outcome = run_sweep(folder, planned.plan, options);
  if (outcome.was_interrupted) return interrupted;
  print_tables(folder.path());
  return outcome.failed + outcome.left > 0 ? failure : success;
}

}  // namespace rwkvlab::cli
