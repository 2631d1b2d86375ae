#include "run/run_experiment.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "kernels/parallel.h"
#include "models/language_model.h"
#include "record/run_file_reader.h"
#include "run/available_memory.h"
#include "run/data_files.h"
#include "run/describe.h"
#include "run/environment.h"
#include "run/initial_weights.h"
#include "run/profile_summary.h"
#include "run/recorder.h"
#include "run/run_folder.h"
#include "run/step_profile.h"
#include "train/tuning.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

// Passes every event on to several observers and keeps status.json up to date.
class RunObserver final : public TrainingObserver {
 public:
  RunObserver(Recorder& recorder, Progress& progress, const RunFolder& folder,
              const std::optional<ProfileParams>& profile)
      : recorder_(recorder), progress_(progress), folder_(folder), earlier_speed_(folder.recorded_speed()) {
    if (profile) profile_.emplace(*profile);
  }

  /// Of this process, or of the one before it when this one has trained no step.
  double tokens_per_second() const {
    const double own = progress_.tokens_per_second();
    return own > 0 ? own : earlier_speed_;
  }

  void started(std::int64_t step, std::int64_t steps) override {
    status_ = {"running", step, steps, "", 0};
    folder_.write_status(status_);
    recorder_.started(step, steps);
    progress_.started(step, steps);
    if (profile_) profile_->finished(step);
  }
  ProbeSink* probes_for(std::int64_t step) override { return recorder_.probes_for(step); }
  bool wants_state(std::int64_t step) override { return recorder_.wants_state(step); }
  void state_at(std::int64_t step, const State& state) override { recorder_.state_at(step, state); }
  void step_finished(const StepReport& report, const Module& model) override {
    status_.step = report.step;
    {
      const ProfileSpan span(Phase::record, "log");
      recorder_.step_finished(report, model);
      progress_.step_finished(report, model);
    }
    if (profile_) profile_->finished(report.step);
    write_profile();
  }
  void evaluation_finished(std::int64_t step, const Evaluation& evaluation, double seconds) override {
    recorder_.evaluation_finished(step, evaluation, seconds);
    progress_.evaluation_finished(step, evaluation, seconds);
  }
  void checkpoint_written(std::int64_t step, const fs::path& checkpoint) override {
    checkpoint_ = checkpoint;
    recorder_.checkpoint_written(step, checkpoint);
    folder_.write_status(status_);
    progress_.checkpoint_written(step, checkpoint);
  }

  /// The last word on how the run ended; `recorded` is what the run file says.
  void close(RunStatus recorded) {
    if (profile_) profile_->stop();
    write_profile();
    recorder_.close(recorded);
    status_.tokens_per_second = tokens_per_second();
    status_.status = std::string(to_string(recorded));
    folder_.write_status(status_);
  }
  /// After an error; a second error must not hide the first.
  void fail(const std::string& status, const std::string& message, std::optional<RunStatus> recorded) noexcept {
    try {
      folder_.log("error: " + message);
      status_.status = status;
      status_.message = message;
      folder_.write_status(status_);
      if (recorded) recorder_.close(*recorded);
    } catch (const std::exception& second) {
      folder_.log(std::string("error: ") + second.what());
    }
  }
  const fs::path& checkpoint() const { return checkpoint_; }
  /// Steps that were profiled; nothing when none should be.
  std::optional<std::int64_t> profiled_steps() const {
    return profile_ ? std::optional(profile_->steps()) : std::nullopt;
  }

 private:
  void write_profile() {
    if (!profile_ || !profile_->take()) return;
    recorder_.profile(profile_->record());
    write_atomically(folder_.trace_file(), chrome_trace(profile_->profiler()));
  }

  Recorder& recorder_;
  Progress& progress_;
  const RunFolder& folder_;
  double earlier_speed_;
  std::optional<StepProfile> profile_;
  RunStatusReport status_;
  fs::path checkpoint_;
};

// The last evaluation that the run file holds, as far as a person is told of it.
std::optional<Evaluation> recorded_evaluation(const fs::path& run_file) {
  const RunFileReader reader(run_file);
  const auto last = [&reader](const char* path) -> std::optional<double> {
    if (!reader.has(path)) return std::nullopt;
    const ScalarSeries series = reader.scalars(path);
    return series.values.empty() ? std::nullopt : std::optional(series.values.back());
  };
  const std::optional<double> loss = last("metrics/eval/loss");
  if (!loss) return std::nullopt;
  Evaluation evaluation;
  evaluation.loss = *loss;
  evaluation.accuracy = last("metrics/eval/accuracy");
  if (const auto bits = last("metrics/eval/bits_per_byte")) {
    evaluation.bits_per_byte = *bits;
    evaluation.bytes = 1;  // How many there were is not recorded; that there were some is.
  }
  return evaluation;
}

// A resumed run promises the bytes of an uninterrupted one, so its data must be what it was.
void refuse_changed_data(const fs::path& folder, const std::vector<DataFiles>& now) {
  const fs::path record = RunFolder::data_record(folder);
  std::error_code ignored;
  if (!fs::exists(record, ignored)) return;
  std::string list;
  for (const std::string& change : changed_data(read_data_files(record), now)) list += "\n  " + change;
  if (list.empty()) return;
  throw DataError(
      fmt::format("--resume: the data of the run in '{}' has changed since it began:{}\nRestore the files, start a new "
                  "run with --out, or remove '{}' to go on with the data as it is",
                  folder.string(), list, record.string()));
}

RunFolder open_folder(const LoadedExperiment& loaded, const RunOptions& options) {
  const fs::path path = run_folder_of(loaded, options.folder);
  const std::vector<DataFiles> data = data_files(loaded.tree);
  if (options.resume) refuse_changed_data(path, data);
  RunFolder folder = options.resume ? RunFolder::resume(path, loaded.tree) : RunFolder::create(path, loaded.text());
  write_data_files(RunFolder::data_record(path), data);
  return folder;
}

RunFileWriter open_run_file(const RunFolder& folder, const LoadedExperiment& loaded, bool resumed, std::int64_t step) {
  const Experiment& e = loaded.experiment;
  Environment environment = environment_now(e.seed, kernels::threads());
  environment["precision_used"] = precision_used(e.train.precision);
  RunFileOptions options;
  options.flush_seconds = e.log.flush_seconds;
  std::error_code ignored;
  if (!resumed || !fs::exists(folder.run_file(), ignored))
    return RunFileWriter::create(folder.run_file(), loaded.text(), environment, options);
  RunFileWriter writer = RunFileWriter::resume(folder.run_file(), step, options);
  writer.set_config(loaded.text());
  for (const auto& [key, value] : environment) writer.set_environment(key, value);
  return writer;
}

// What `run` says first: what is trained on what.
void introduce(const LoadedExperiment& loaded, const BuiltExperiment& built, const RunFolder& folder,
               const ProgressOutput& output) {
  const TrainParams& train = loaded.experiment.train;
  std::int64_t parameters = 0;
  for (const Parameter* const parameter : built.model->parameters()) parameters += parameter->shape.elements();
  output.line(fmt::format("run    {} -> {}", loaded.experiment.name, folder.path().string()));
  output.line(fmt::format("model  {}, {} parameters", built.model->summary(), grouped(parameters)));
  if (tunes_base_weights(train.tune)) {
    output.line(fmt::format("tune   {}, {} parameters are trained", train.tune.kind,
                            grouped(describe_options(*built.model, train).trained_parameters)));
  }
  output.line(fmt::format("data   {}", built.data->describe()));
  const std::string& read = built.objective->unit().read;
  const std::string context = read == "tokens" ? fmt::format(" x context {}", train.context) : "";
  output.line(fmt::format("train  {} steps of {} {} (batch {}{}{}), {} thread{}", train.steps,
                          grouped(train.tokens_per_step()), read, train.batch, context,
                          train.accumulate > 1 ? fmt::format(" x {}", train.accumulate) : "", kernels::threads(),
                          kernels::threads() == 1 ? "" : "s"));
  const std::string note = precision_note(train.precision);
  if (!note.empty()) output.line("note   " + note);
}

}  // namespace

fs::path run_folder_of(const LoadedExperiment& loaded, const fs::path& folder) {
  return folder.empty() ? fs::path("runs") / loaded.experiment.name : folder;
}

RunResult run_experiment(const LoadedExperiment& loaded, const RunOptions& options) {
  const Experiment& e = loaded.experiment;
  const BuiltExperiment built = build_experiment(loaded);
  refuse_beyond_memory(loaded, *built.model, available_memory());
  const RunFolder folder = open_folder(loaded, options);
  const ProgressOutput output =
      terminal_output(options.output, [&folder](const std::string& text) { folder.log(text); });
  introduce(loaded, built, folder, output);

  built.model->allocate(e.seed);
  const bool keeps_base = tunes_base_weights(e.train.tune);
  const auto start = [&] {
    const std::string told = load_initial_weights(loaded, *built.model);
    if (!told.empty()) output.line("start  " + told);
  };
  if (keeps_base) start();
  Trainer trainer(
      e.train, e.evaluation,
      {built.objective.get(), e.seed, folder.checkpoints(), {loaded.text(), built.data->vocabulary_json()}});
  std::vector<std::string> skipped;
  const bool resumed = options.resume && trainer.resume(&skipped);
  for (const std::string& sentence : skipped) output.line("note: " + sentence);
  if (options.resume && !resumed) output.line("no checkpoint yet: starting from step 0");
  if (!resumed && !keeps_base) start();

  Recorder recorder(open_run_file(folder, loaded, resumed, trainer.position().step), e.log,
                    {built.model.get(), e.train.checkpoint_every, built.objective->unit()});
  Progress progress(output, built.objective->unit().read);
  std::optional<ProfileParams> profile = e.log.profile;
  if (options.profile && !profile) profile.emplace();
  RunObserver observer(recorder, progress, folder, profile);
  const std::int64_t first_step = trainer.position().step;
  static const std::atomic<bool> never{false};
  RunResult result;
  try {
    result.outcome = trainer.run(observer, options.stop == nullptr ? never : *options.stop);
    observer.close(result.outcome == TrainingOutcome::finished ? RunStatus::done : RunStatus::interrupted);
  } catch (const NonFiniteError& error) {
    if (output.live) output.live("");
    observer.fail("diverged", error.what(), RunStatus::diverged);
    throw;
  } catch (const std::exception& error) {
    if (output.live) output.live("");
    observer.fail("failed", error.what(), std::nullopt);
    throw;
  }
  result.folder = folder.path();
  result.run_file = folder.run_file();
  result.checkpoint = CheckpointFolder(folder.checkpoints(), 0).newest().value_or(fs::path());
  result.step = trainer.position().step;
  result.was_finished = resumed && result.outcome == TrainingOutcome::finished && trainer.position().step == first_step;
  result.evaluation = trainer.last_evaluation();
  if (!result.evaluation) result.evaluation = recorded_evaluation(result.run_file);
  if (result.evaluation) result.evaluation->unit = built.objective->unit();
  result.tokens_per_second = observer.tokens_per_second();
  result.profiled_steps = observer.profiled_steps();
  if (result.profiled_steps.value_or(0) > 0) result.trace = folder.trace_file();
  return result;
}

}  // namespace rwkvlab
