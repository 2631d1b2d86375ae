// AdamW: see train/optimizer.h for the update.
#include <fmt/format.h>

#include "autograd/profiler.h"
#include "base/error.h"
#include "kernels/adam.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/tensor_loading.h"

namespace rwkvlab {
namespace {

class AdamW final : public Optimizer {
 public:
  AdamW(const AdamWParams& params, const std::vector<TrainedParameter>& parameters) : params_(params) {
    for (const TrainedParameter& entry : parameters) {
      const Tensor& value = entry.parameter->var.value();
      check_invariant(value.defined(), "an optimiser needs an allocated model");
      slots_.push_back(
          {entry, Tensor::zeros(value.shape(), value.dtype()), Tensor::zeros(value.shape(), value.dtype()), 0});
    }
  }

  void step(const OptimizerStep& step) override {
    const ProfileSpan span(Phase::update, "adamw");
    const double decay = weight_decay_at(params_.weight_decay, params_.weight_decay_final, step.progress);
    for (Slot& slot : slots_) {
      const Var& var = slot.trained.parameter->var;
      if (!var.grad().defined()) continue;
      ++slot.steps;
      // Of four arrays, all are read and all but the gradient written.
      span.add_bytes(7.0 * static_cast<double>(var.value().bytes()));
      const kernels::AdamStep update = {.learning_rate = step.learning_rate * slot.trained.learning_rate_scale,
                                        .beta1 = params_.beta1,
                                        .beta2 = params_.beta2,
                                        .epsilon = params_.epsilon,
                                        .weight_decay = slot.trained.weight_decay ? decay : 0,
                                        .gradient_factor = step.gradient_factor,
                                        .steps = slot.steps};
      for_real(var.dtype(), [&]<class Real>(Real) {
        kernels::adam_update<Real>(var.value().elements(), update, var.grad().data<Real>(), var.value().data<Real>(),
                                   slot.m.data<Real>(), slot.v.data<Real>());
      });
    }
  }

  std::vector<NamedTensor> state() const override {
    std::vector<NamedTensor> result;
    std::vector<std::int64_t> steps;
    for (const Slot& slot : slots_) {
      result.push_back({"m." + slot.trained.parameter->name, slot.m});
      result.push_back({"v." + slot.trained.parameter->name, slot.v});
      steps.push_back(slot.steps);
    }
    result.push_back({"steps", Tensor::from<std::int64_t>({static_cast<std::int64_t>(steps.size())}, steps)});
    return result;
  }

  void load_state(const SafetensorsFile& file) override {
    const std::vector<NamedTensor> targets = state();
    load_tensors(file, targets);
    const auto steps = targets.back().tensor.span<std::int64_t>();
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (steps[i] < 0) throw DataError(fmt::format("'{}': 'steps' is negative", file.path().string()));
      slots_[i].steps = steps[i];
    }
  }

 private:
  struct Slot {
    TrainedParameter trained;
    Tensor m, v;
    std::int64_t steps;
  };
  AdamWParams params_;
  std::vector<Slot> slots_;
};

const RegisterKind<Optimizer, AdamWParams, std::vector<TrainedParameter>> registered(
    "optimizer", "adamw", [](Fields<AdamWParams>& f) { describe(f); }, make_adamw);

}  // namespace

void describe(Fields<AdamWParams>& f) {
  f.doc("AdamW: Adam with decoupled weight decay; without weight decay it is Adam.");
  f.paper("arXiv:1711.05101");
  f.add("beta1", &AdamWParams::beta1, "decay of the mean of gradients per step", at_least(0) && below(1));
  f.add("beta2", &AdamWParams::beta2, "decay of the mean of squared gradients per step", at_least(0) && below(1));
  f.add("epsilon", &AdamWParams::epsilon, "added to the root of the mean square", above(0));
  f.add("weight_decay", &AdamWParams::weight_decay, "of matrices and embeddings; vectors do not decay", at_least(0));
  f.add("weight_decay_final", &AdamWParams::weight_decay_final,
        "weight decay at the end of the schedule, moving there exponentially; 0: it stays", at_least(0));
}

std::unique_ptr<Optimizer> make_adamw(const AdamWParams& params, const std::vector<TrainedParameter>& parameters) {
  return std::make_unique<AdamW>(params, parameters);
}

}  // namespace rwkvlab
