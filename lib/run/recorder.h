// Writes what a training does into its run file.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "nn/module.h"
#include "record/run_file_writer.h"
#include "run/log_params.h"
#include "train/trainer.h"

namespace rwkvlab {

/// What a recorder must know of the training besides `log`.
struct RecorderSite {
  const Module* model = nullptr;  ///< allocated; outlives the recorder
  std::int64_t checkpoint_every = 0;
  LossMeasure unit = {};
};

/// Metrics at the steps that `log` asks for, evaluations always, and time decays, parameter statistics, probes and
/// states. Step 0 is the model before training. Records depend on the training alone, not on clocks (except with
/// `log.speed`), so equal runs have equal run files.
class Recorder final : public TrainingObserver, private ProbeSink {
 public:
  Recorder(RunFileWriter writer, const LogParams& log, RecorderSite site);
  ~Recorder() override;

  void started(std::int64_t step, std::int64_t steps) override;
  ProbeSink* probes_for(std::int64_t step) override;
  bool wants_state(std::int64_t step) override;
  void state_at(std::int64_t step, const State& state) override;
  void step_finished(const StepReport& report, const Module& model) override;
  void evaluation_finished(std::int64_t step, const Evaluation& evaluation, double seconds) override;
  void checkpoint_written(std::int64_t step, const std::filesystem::path& checkpoint) override;

  void profile(ProfileRecord record) { writer_.set_profile(std::move(record)); }
  /// Flushes what is left and stores how the run ended. To be called once, last.
  void close(RunStatus status) { writer_.close(status); }

 private:
  void probe(const std::string& path, const Var& value, std::string_view dimensions) override;
  bool wants(const std::string& path) const override;
  bool is_wanted(const ProbeParams& wanted, const std::string& path) const;
  void record_probe(const ProbeParams& wanted, const std::string& path, const Tensor& value,
                    std::string_view dimensions);
  void record_parameters(std::int64_t step);
  void record_by_position(const std::string& path, std::int64_t step, const std::vector<double>& values,
                          const char* unit, const char* description);

  RunFileWriter writer_;
  LogParams log_;
  RecorderSite site_;
  std::int64_t probed_step_ = 0;
  std::int64_t last_step_ = 0;    ///< of the whole training
  std::set<std::string> probed_;  // forms and paths recorded at this step already
};

}  // namespace rwkvlab
