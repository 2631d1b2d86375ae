// The training loop: micro-batches -> gradients -> clipping -> optimiser, with evaluations and checkpoints between.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/registry.h"
#include "train/checkpoint.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/precision.h"
#include "train/schedule.h"
#include "train/tuning.h"

namespace rwkvlab {

/// The section `train` of an experiment file.
struct TrainParams {
  std::int64_t steps = 1000;
  int batch = 8;
  int context = 256;
  int accumulate = 1;
  double learning_rate = 6e-4;
  Choice schedule;
  Choice optimizer;
  Choice objective;
  double gradient_clip = 1;
  std::string precision = float32_precision;
  bool layerwise_learning_rate = true;
  bool warm_up_stage = false;
  std::vector<ParameterGroup> parameter_groups;
  Choice tune;
  std::string start_from;  ///< weights in place of initial values; empty: none
  bool start_with_other_tokenizer = false;
  std::int64_t checkpoint_every = 1000;
  int keep_checkpoints = 2;

  std::int64_t tokens_per_step() const { return std::int64_t{batch} * context * accumulate; }
  ParameterPolicy parameter_policy() const { return {layerwise_learning_rate, warm_up_stage, parameter_groups}; }
};

void describe(Fields<TrainParams>& f);

/// The section `eval` of an experiment file.
struct EvaluationParams : EvaluationRequest {
  std::int64_t every = 0;    ///< steps; 0: at the end only
  double stop_accuracy = 1;  ///< the training ends after an evaluation whose accuracy is above this
};

void describe(Fields<EvaluationParams>& f);

/// One finished optimiser step.
struct StepReport {
  std::int64_t step = 0;     ///< finished steps, this one included: the first step is 1
  double loss = 0;           ///< mean over the micro-batches, nats per token, before the update
  double learning_rate = 0;  ///< before the parameters' own scales
  double gradient_norm = 0;  ///< global, before clipping
  std::int64_t tokens = 0;   ///< that this step read, whether or not their targets count
  std::int64_t tokens_seen = 0;
  double seconds = 0;  ///< wall time of this step
};

/// Is told what happens during a training; everything is optional. Called on the training thread. Exceptions stop the
/// training (after an error in step_finished the step counts, but no checkpoint is written).
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  /// Before the first step; `step` > 0 after a resume.
  virtual void started(std::int64_t /*step*/, std::int64_t /*steps*/) {}
  /// Who wants to see the values inside the model in the forward pass of this step (its first micro-batch); null:
  /// nobody.
  virtual ProbeSink* probes_for(std::int64_t /*step*/) { return nullptr; }
  /// Whether state_at shall be called for this step.
  virtual bool wants_state(std::int64_t /*step*/) { return false; }
  /// The recurrent state after the last token of the first micro-batch; pieces [batch, ...].
  virtual void state_at(std::int64_t /*step*/, const State& /*state*/) {}
  /// After the update: `model` holds the new parameters.
  virtual void step_finished(const StepReport& /*report*/, const Module& /*model*/) {}
  virtual void evaluation_finished(std::int64_t /*step*/, const Evaluation& /*evaluation*/, double /*seconds*/) {}
  virtual void checkpoint_written(std::int64_t /*step*/, const std::filesystem::path& /*checkpoint*/) {}
  /// Before NonFiniteError is thrown.
  virtual void diverged(std::int64_t /*step*/, const std::string& /*message*/) {}
};

enum class TrainingOutcome { finished, interrupted };

/// What a training is made of besides its parameters. The objects must outlive the trainer.
struct TrainerSite {
  Objective* objective = nullptr;
  std::uint64_t seed = 0;             ///< of dropout
  std::filesystem::path checkpoints;  ///< folder of the checkpoints; empty: none are written
  CheckpointTexts texts;
};

class Trainer {
 public:
  /// The model must be allocated and, for a tuning that keeps its base, hold the weights to start from. Throws
  /// ConfigError for patterns of parameters that match nothing.
  Trainer(const TrainParams& params, const EvaluationParams& evaluation, TrainerSite site);
  ~Trainer();

  /// Goes on from the newest whole checkpoint. False when there is none. `skipped` as in CheckpointFolder::newest.
  bool resume(std::vector<std::string>* skipped = nullptr);
  /// Trains until `steps` steps are done or `stop` is set; then the current step is finished, a checkpoint written and
  /// `interrupted` returned. At the end there is an evaluation (when the objective can evaluate) and a checkpoint.
  /// Throws NonFiniteError when a loss or a gradient is not finite: that step is not applied, the message names the
  /// step, the first module output (or parameter gradient) that is not finite, and the last good checkpoint.
  TrainingOutcome run(TrainingObserver& observer, const std::atomic<bool>& stop);

  const TrainingPosition& position() const { return position_; }
  const Optimizer& optimizer() const { return *optimizer_; }
  /// Of the last evaluation of this run().
  const std::optional<Evaluation>& last_evaluation() const { return last_evaluation_; }

 private:
  StepReport step(TrainingObserver& observer);
  double accumulate_gradients(TrainingObserver& observer);
  ForwardContext forward_context(std::int64_t micro_batch) const;
  std::string where_non_finite();
  [[noreturn]] void fail(TrainingObserver& observer, std::int64_t step, const std::string& what,
                         const std::string& consequence);
  void evaluate(TrainingObserver& observer);
  void write_checkpoint(TrainingObserver& observer);

  TrainParams params_;
  EvaluationParams evaluation_;
  TrainerSite site_;
  std::unique_ptr<Tuning> tuning_;
  std::vector<TrainedParameter> parameters_;
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<Optimizer> optimizer_;
  CheckpointFolder folder_;
  TrainingPosition position_;
  std::filesystem::path last_checkpoint_;
  bool is_saved_ = false;  ///< whether last_checkpoint_ is of position_
  std::optional<Evaluation> last_evaluation_;
};

}  // namespace rwkvlab
