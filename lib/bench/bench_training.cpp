#include "bench/bench_training.h"

#include "base/error.h"
#include "base/random.h"
#include "models/image_model.h"

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

BenchTraining::BenchTraining(const TrainWorkload& workload) : workload_(workload) {
  if (workload.image_model) {
    const ImageDataSet& data = *workload.images;
    model_ = make_root(build_kind<Module, ModelSite>(
        "model", workload.image_model, ModelSite{0, data.channels(), data.height(), data.width(), data.classes()}));
    const Choice objective = workload.objective
                                 ? workload.objective
                                 : make_choice("objective", objective_of_model(workload.image_model.kind));
    objective_ = make_objective(objective, {model_.get(), workload.images.get(), workload.batch, 1});
  } else {
    model_ = make_language_model(workload.model);
    make_random_batch();
  }
  model_->allocate(1);
  parameters_ = trained_parameters(*model_, {});
  optimizer_ = make_adamw({}, parameters_);
}

void BenchTraining::use_batches_of(int batch, int context) {
  if (objective_ != nullptr) throw ConfigError("a model of images has no context: its sequences are images");
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

void BenchTraining::make_batch() {
  if (objective_ == nullptr) {
    next_batch();
  } else {
    workload_.images->training_images(steps_++, workload_.batch);
  }
}

double BenchTraining::tokens() {
  if (objective_ == nullptr) return static_cast<double>(next_batch().tokens.elements());
  return static_cast<double>(workload_.batch * dynamic_cast<const ImageModel&>(*model_).patches());
}

Var BenchTraining::loss(bool training) {
  ForwardContext context;
  if (objective_ == nullptr) {
    const Batch batch = next_batch();
    return dynamic_cast<const LanguageModel&>(*model_)
        .loss(batch.tokens, batch.targets, workload_.l2wrap, context)
        .loss;
  }
  context.training = training;
  context.step = static_cast<std::uint64_t>(steps_);
  return objective_->forward(steps_++, context).loss;
}

void BenchTraining::forward() {
  const PrecisionScope precision(workload_.precision);
  const Tape tape;
  loss(true);
}

void BenchTraining::infer() {
  const PrecisionScope precision(workload_.precision);
  loss(false);
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

std::vector<kernels::MatmulCall> BenchTraining::inference_products() {
  const kernels::MatmulRecorder recorder;
  infer();
  return recorder.calls();
}

void BenchTraining::differentiate() {
  const PrecisionScope precision(workload_.precision);
  Tape tape;
  tape.backward(loss(true));
}

}  // namespace rwkvlab
