// y = n ⊙ weight + bias, n = (s - mean) rstd, s = x (+ branch). The gradient is in kernels/layer_norm.h.
#include "autograd/ops/layer_norm.h"

#include "autograd/ops/common.h"
#include "kernels/layer_norm.h"

namespace rwkvlab {
namespace {

// Inputs x, weight, bias and, in the fused form, branch; outputs y and, in the fused form, s.
class LayerNorm final : public Op {
 public:
  explicit LayerNorm(double epsilon) : epsilon_(epsilon) {}
  std::string_view name() const override { return "layer_norm"; }

  Tensors forward(const Tensors& in) override {
    const Tensor &x = in[0], &weight = in[1], &bias = in[2];
    const Tensor branch = in.size() > 3 ? in[3] : Tensor();
    require(x.shape().rank() >= 1 && weight.shape() == Shape{x.shape()[-1]} && bias.shape() == weight.shape() &&
                (!branch.defined() || branch.shape() == x.shape()),
            "input [..., channels], weight and bias [channels]", in);
    const Tensor sum = branch.defined() ? like(x) : x;
    mean_ = Tensor::empty({x.shape().rows()}, x.dtype());
    rstd_ = like(mean_);
    const Tensor y = normalised({x, branch, sum, weight, bias, mean_, rstd_, epsilon_});
    if (wants_any()) sum_ = sum, weight_ = weight, bias_ = bias;
    if (branch.defined()) return {y, sum};
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const bool fused = out.size() > 1;
    const Tensor residual = fused ? out[1] : Tensor();
    if (!out[0].defined()) return {residual, Tensor(), Tensor(), residual};
    const Tensor grad_x = reuse_or_new(out[0]);
    Tensors grads = {grad_x, like(weight_), like(weight_)};
    for_real(sum_.dtype(), [&]<class Real>(Real) {
      kernels::LayerNormBackward<Real> call;
      call.size = {sum_.shape().rows(), sum_.shape()[-1]};
      call.x = sum_.data<Real>();
      call.weight = weight_.data<Real>();
      call.mean = mean_.data<Real>();
      call.rstd = rstd_.data<Real>();
      call.grad_y = out[0].data<Real>();
      call.residual_grad = data_or_null<Real>(residual);
      call.grad_x = grad_x.data<Real>();
      call.grad_weight = grads[1].data<Real>();
      call.grad_bias = grads[2].data<Real>();
      kernels::layer_norm_backward(call);
    });
    if (fused) grads.push_back(grad_x);
    return grads;
  }

  // The norm, from the sum. Both layers' projections of a block read it.
  Recompute recompute(std::size_t output) const override {
    if (output != 0) return {};
    return computed_once([sum = sum_, weight = weight_, bias = bias_, epsilon = epsilon_] {
      const Tensor statistics = Tensor::empty({2, sum.shape().rows()}, sum.dtype());
      return normalised({sum, Tensor(), Tensor(), weight, bias, statistics.rows(0, 1), statistics.rows(1, 2), epsilon});
    });
  }

 private:
  struct Parts {
    Tensor x, branch, sum, weight, bias, mean, rstd;
    double epsilon;
  };
  static Tensor normalised(const Parts& p) {
    Tensor y = like(p.x);
    for_real(p.x.dtype(), [&]<class Real>(Real) {
      kernels::LayerNormForward<Real> call;
      call.size = {p.x.shape().rows(), p.x.shape()[-1]};
      call.epsilon = p.epsilon;
      call.x = p.x.data<Real>();
      call.branch = data_or_null<Real>(p.branch);
      call.weight = p.weight.data<Real>();
      call.bias = p.bias.data<Real>();
      call.sum = p.branch.defined() ? p.sum.data<Real>() : nullptr;
      call.y = y.data<Real>();
      call.mean = p.mean.data<Real>();
      call.rstd = p.rstd.data<Real>();
      kernels::layer_norm_forward(call);
    });
    return y;
  }

  double epsilon_;
  Tensor sum_, weight_, bias_, mean_, rstd_;
};

}  // namespace

Var layer_norm(const Var& x, const Var& weight, const Var& bias, double epsilon) {
  return run_op_one<LayerNorm>({x, weight, bias}, epsilon);
}

std::pair<Var, Var> add_layer_norm(const Var& x, const Var& branch, const Var& weight, const Var& bias,
                                   double epsilon) {
  auto outputs = run_op(std::make_unique<LayerNorm>(epsilon), {x, weight, bias, branch});
  return {outputs[1], outputs[0]};
}

}  // namespace rwkvlab
