#include "train/trainer.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "autograd/profiler.h"
#include "base/error.h"
#include "train/non_finite.h"
#include "train/tuning.h"

namespace rwkvlab {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

bool is_multiple(std::int64_t step, std::int64_t every) { return every > 0 && step % every == 0; }

// The sign of a NaN means nothing and would be printed.
double without_sign_of_nan(double value) { return std::isnan(value) ? std::fabs(value) : value; }

}  // namespace

Trainer::Trainer(const TrainParams& params, const EvaluationParams& evaluation, TrainerSite site)
    : params_(params),
      evaluation_(evaluation),
      site_(std::move(site)),
      tuning_(make_tuning(params_.tune, {&site_.objective->model(), params_.parameter_policy(), site_.seed})),
      parameters_(tuning_->parameters()),
      schedule_(make_schedule(params_.schedule, {params_.learning_rate, params_.steps, params_.tokens_per_step()})),
      optimizer_(make_optimizer(params_.optimizer, parameters_)),
      folder_(site_.checkpoints, params_.keep_checkpoints) {
  position_.seed = site_.seed;
}

Trainer::~Trainer() = default;

bool Trainer::resume(std::vector<std::string>* skipped) {
  if (site_.checkpoints.empty()) return false;
  const auto newest = folder_.newest(skipped);
  if (!newest) return false;
  TrainingPosition position = read_checkpoint(*newest, *site_.objective, *optimizer_, tuning_.get());
  if (position.seed != site_.seed) {
    throw ConfigError(
        fmt::format("checkpoint '{}' was made with seed {}, this run has seed {}: bit-for-bit "
                    "continuation needs the same seed",
                    newest->string(), position.seed, site_.seed));
  }
  position_ = position;
  last_checkpoint_ = *newest;
  is_saved_ = true;
  return true;
}

TrainingOutcome Trainer::run(TrainingObserver& observer, const std::atomic<bool>& stop) {
  observer.started(position_.step, params_.steps);
  while (true) {
    if (position_.evaluation_due && !stop) evaluate(observer);
    const bool is_finished = position_.step >= params_.steps || position_.goal_reached;
    if (is_finished || stop || is_multiple(position_.step, params_.checkpoint_every)) write_checkpoint(observer);
    if (is_finished && !position_.evaluation_due) return TrainingOutcome::finished;
    if (stop) return TrainingOutcome::interrupted;
    const StepReport report = step(observer);
    observer.step_finished(report, site_.objective->model());
  }
}

StepReport Trainer::step(TrainingObserver& observer) {
  const ProfileSpan span(Phase::step, "step");
  const Clock::time_point start = Clock::now();
  const std::int64_t number = position_.step + 1;
  StepReport report;
  report.step = number;
  report.tokens = params_.tokens_per_step();
  // Shares memory; the state itself is never overwritten.
  State before = site_.objective->carried_state();
  report.loss = accumulate_gradients(observer);
  if (std::isfinite(report.loss)) tuning_->collect_gradients();
  const double share = 1.0 / params_.accumulate;
  report.gradient_norm = share * gradient_norm(parameters_);
  if (!std::isfinite(report.loss) || !std::isfinite(report.gradient_norm)) {
    std::string what = std::isfinite(report.loss)
                           ? fmt::format("the gradient norm is {}", without_sign_of_nan(report.gradient_norm))
                           : fmt::format("the loss is {}", without_sign_of_nan(report.loss));
    site_.objective->set_carried_state(std::move(before));
    fail(observer, number, what + where_non_finite(), "The step was not applied");
  }
  const LearningRate rate = schedule_->at(position_.step);
  report.learning_rate = rate.rate;
  optimizer_->step({rate.rate, rate.progress, share * clip_factor(report.gradient_norm, params_.gradient_clip)});
  clear_gradients(parameters_);
  tuning_->update();

  position_.step = number;
  position_.micro_batches += params_.accumulate;
  position_.tokens_seen += report.tokens;
  position_.evaluation_due =
      site_.objective->can_evaluate() && (number >= params_.steps || is_multiple(number, evaluation_.every));
  is_saved_ = false;
  report.tokens_seen = position_.tokens_seen;
  report.seconds = seconds_since(start);
  return report;
}

// Leaves the sum of the micro-batches' gradients in the parameters and returns the mean of their losses; stops at the
// first loss that is not finite. The division by the number of micro-batches is folded into the optimiser's factor, so
// L2Wrap, which the loss's gradient does not scale, is averaged like everything else, as in one large batch.
double Trainer::accumulate_gradients(TrainingObserver& observer) {
  clear_gradients(parameters_);
  const PrecisionScope precision(params_.precision);
  double sum = 0;
  for (int j = 0; j < params_.accumulate && std::isfinite(sum); ++j) {
    ForwardContext context = forward_context(position_.micro_batches + j);
    State left;
    const bool wants_state = j == 0 && observer.wants_state(position_.step + 1);
    if (j == 0) context.probes = observer.probes_for(position_.step + 1);
    if (wants_state) context.state_out = &left;
    Tape tape;
    StepResult result = site_.objective->forward(position_.micro_batches + j, context);
    sum += result.loss.value().item();
    if (wants_state) observer.state_at(position_.step + 1, left);
    if (std::isfinite(sum)) tape.backward(std::exchange(result.loss, Var()));
  }
  return std::isfinite(sum) ? sum / params_.accumulate : sum;
}

ForwardContext Trainer::forward_context(std::int64_t micro_batch) const {
  ForwardContext context;
  context.training = true;
  context.seed = site_.seed;
  context.step = static_cast<std::uint64_t>(micro_batch);
  return context;
}

// Runs the forward passes of the failed step again, from the state they started from, and looks at every value.
std::string Trainer::where_non_finite() {
  const std::string parameter = non_finite_parameter(site_.objective->model());
  const std::string gradient = non_finite_gradient(parameters_);
  clear_gradients(parameters_);
  NonFiniteSearch search;
  const PrecisionScope precision(params_.precision);
  for (int j = 0; j < params_.accumulate && search.path().empty(); ++j) {
    ForwardContext context = forward_context(position_.micro_batches + j);
    context.probes = &search;
    site_.objective->forward(position_.micro_batches + j, context);
  }
  std::string text;
  if (!search.path().empty()) text += fmt::format("; the first value that is not finite is '{}'", search.path());
  if (!parameter.empty()) text += fmt::format("; the parameter '{}' is not finite", parameter);
  if (search.path().empty() && !gradient.empty()) {
    text += fmt::format("; every value of the forward pass is finite, the gradient of '{}' is not", gradient);
  }
  return text;
}

void Trainer::fail(TrainingObserver& observer, std::int64_t step, const std::string& what,
                   const std::string& consequence) {
  const std::string checkpoint = last_checkpoint_.empty()
                                     ? "no checkpoint had been written"
                                     : fmt::format("the last good checkpoint is '{}'", last_checkpoint_.string());
  const std::string message = fmt::format(
      "training diverged at step {}: {}. {}; {}. A smaller train.learning_rate, more warm-up "
      "steps or a smaller gradient_clip may help",
      step, what, consequence, checkpoint);
  observer.diverged(step, message);
  throw NonFiniteError(message);
}

void Trainer::evaluate(TrainingObserver& observer) {
  const ProfileSpan span(Phase::evaluation, "evaluation");
  const Clock::time_point start = Clock::now();
  last_evaluation_ = site_.objective->evaluate(evaluation_);
  if (!std::isfinite(last_evaluation_->loss)) {
    const std::string parameter = non_finite_parameter(site_.objective->model());
    const std::string where = parameter.empty() ? "" : fmt::format("; the parameter '{}' is not finite", parameter);
    fail(observer, position_.step,
         fmt::format("the held-out loss is {}{}", without_sign_of_nan(last_evaluation_->loss), where),
         "The step was not saved");
  }
  position_.evaluation_due = false;
  position_.goal_reached = last_evaluation_->accuracy.value_or(0) > evaluation_.stop_accuracy;
  is_saved_ = false;
  observer.evaluation_finished(position_.step, *last_evaluation_, seconds_since(start));
}

void Trainer::write_checkpoint(TrainingObserver& observer) {
  if (is_saved_ || site_.checkpoints.empty() || position_.step == 0) return;
  const ProfileSpan span(Phase::record, "checkpoint");
  // A good checkpoint is never followed, and in the end replaced, by a useless one.
  const std::string parameter = non_finite_parameter(site_.objective->model());
  if (!parameter.empty()) {
    fail(observer, position_.step, fmt::format("the parameter '{}' is not finite", parameter),
         "The step was not saved");
  }
  last_checkpoint_ = folder_.write(position_, site_.texts, *site_.objective, *optimizer_, tuning_.get());
  is_saved_ = true;
  observer.checkpoint_written(position_.step, last_checkpoint_);
}

}  // namespace rwkvlab
