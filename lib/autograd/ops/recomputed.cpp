// y = f(x; θ);  ∂x = ∂y ∂f/∂x and ∂θ += ∂y ∂f/∂θ by a tape that records f again.
#include "autograd/ops/recomputed.h"

#include <optional>

#include "autograd/bfloat16_products.h"
#include "autograd/profiler.h"

namespace rwkvlab {
namespace {

// Inputs: those of the body, then parameters.
class Recomputed final : public Op {
 public:
  Recomputed(RecomputedBody body, std::size_t inputs) : body_(std::move(body)), count_(inputs) {}
  std::string_view name() const override { return "recomputed"; }

  Tensors forward(const Tensors& in) override {
    std::vector<Var> inputs;
    for (std::size_t i = 0; i < count_; ++i) {
      inputs.push_back(in[i].defined() ? Var(in[i]) : Var());
      if (wants_any()) kept_.push_back(save(i, in[i]));
    }
    all_ = in.size();
    is_bfloat16_ = Bfloat16Products::current() != nullptr;
    const PauseRecording pause;
    Tensors outputs;
    for (const Var& output : body_(inputs, false)) outputs.push_back(output.value());
    return outputs;
  }

  Tensors backward(const Tensors& out) override {
    std::optional<Bfloat16Products> products;
    if (is_bfloat16_ != (Bfloat16Products::current() != nullptr)) products.emplace(is_bfloat16_);
    std::vector<Var> inputs;
    for (std::size_t i = 0; i < count_; ++i) {
      const Tensor value = kept_[i].get();
      inputs.push_back(!value.defined() ? Var() : wants(i) ? Var::leaf(value) : Var(value));
    }
    kept_.clear();
    Tape tape;
    std::vector<Var> reached;
    Tensors seeds;
    {
      ProfileSpan span;
      if (Profiler* const profiler = Profiler::current()) span.open_inside(*profiler, Phase::recompute);
      const std::vector<Var> outputs = body_(inputs, true);
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        if (!out[i].defined()) continue;
        reached.push_back(outputs[i]);
        seeds.push_back(out[i]);
      }
    }
    tape.backward(reached, seeds);
    Tensors grads(all_);
    for (std::size_t i = 0; i < count_; ++i) grads[i] = inputs[i].grad();
    return grads;
  }

  // The body's operations count their own.
  double forward_bytes(const Tensors&, const Tensors&) const override { return 0; }
  double backward_bytes(double, const Tensors&, const Tensors&) const override { return 0; }

 private:
  RecomputedBody body_;
  std::size_t count_, all_ = 0;
  std::vector<Saved> kept_;
  bool is_bfloat16_ = false;
};

}  // namespace

std::vector<Var> recomputed(RecomputedBody body, const std::vector<Var>& inputs, const std::vector<Var>& parameters) {
  std::vector<Var> all = inputs;
  all.insert(all.end(), parameters.begin(), parameters.end());
  return run_op(std::make_unique<Recomputed>(std::move(body), inputs.size()), all);
}

}  // namespace rwkvlab
