#include "bench/bench_training.h"

#include "base/random.h"

namespace rwkvlab {
namespace {

Tensor random_tokens(const TrainWorkload& workload, std::string_view name) {
  const RandomStream random(1, name);
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(workload.batch) *
                                   static_cast<std::size_t>(workload.context));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = static_cast<std::int64_t>(random.below(i, static_cast<std::uint64_t>(workload.model.vocabulary_size)));
  }
  return Tensor::from<std::int64_t>({workload.batch, workload.context}, tokens);
}

}  // namespace

BenchTraining::BenchTraining(const TrainWorkload& workload)
    : workload_(workload), model_(make_language_model(workload.model)) {
  make_random_batch();
  model_->allocate(1);
  parameters_ = trained_parameters(*model_, {});
  optimizer_ = make_adamw({}, parameters_);
}

void BenchTraining::use_batches_of(int batch, int context) {
  if (workload_.batch == batch && workload_.context == context) return;
  workload_.batch = batch;
  workload_.context = context;
  make_random_batch();
}

void BenchTraining::make_random_batch() {
  if (workload_.data != nullptr) return;
  random_.tokens = random_tokens(workload_, "tokens");
  random_.targets = random_tokens(workload_, "targets");
}

Batch BenchTraining::next_batch() {
  const ProfileSpan span(Phase::data, "batch");
  return workload_.data == nullptr ? random_
                                   : workload_.data->training_batch(steps_++, workload_.batch, workload_.context);
}

void BenchTraining::forward() {
  const PrecisionScope precision(workload_.precision);
  const Tape tape;
  const Batch batch = next_batch();
  model_->loss(batch.tokens, batch.targets, workload_.l2wrap, {});
}

void BenchTraining::forward_backward() {
  differentiate();
  clear_gradients(parameters_);
}

void BenchTraining::step() {
  const ProfileSpan span(Phase::step, "step");
  differentiate();
  OptimizerStep step;
  step.learning_rate = 1e-4;
  step.gradient_factor = clip_factor(gradient_norm(parameters_), 1.0);
  optimizer_->step(step);
  clear_gradients(parameters_);
}

std::vector<kernels::MatmulCall> BenchTraining::products() {
  const kernels::MatmulRecorder recorder;
  forward_backward();
  return recorder.calls();
}

void BenchTraining::differentiate() {
  const PrecisionScope precision(workload_.precision);
  const Batch batch = next_batch();
  Tape tape;
  tape.backward(model_->loss(batch.tokens, batch.targets, workload_.l2wrap, {}).loss);
}

}  // namespace rwkvlab
