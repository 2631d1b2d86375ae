// y = factor x rstd ⊙ weight, rstd = 1 / sqrt(mean(x²) + epsilon) per row and group. The gradient is in
// kernels/rms_norm.h. With n channels in a group, x / sqrt(Σ x² + ε) = n^(-1/2) x / sqrt(mean(x²) + ε/n).
#include "autograd/ops/rms_norm.h"

#include <cmath>

#include "autograd/ops/common.h"
#include "kernels/rms_norm.h"

namespace rwkvlab {
namespace {

// Inputs x, weight (or none).
class RmsNorm final : public Op {
 public:
  RmsNorm(std::string_view name, std::int64_t groups, double epsilon, double factor)
      : name_(name), groups_(groups), epsilon_(epsilon), factor_(factor) {}
  std::string_view name() const override { return name_; }

  Tensors forward(const Tensors& in) override {
    const Tensor &x = in[0], &weight = in[1];
    require(x.shape().rank() >= 1 && groups_ >= 1 && x.shape()[-1] % groups_ == 0 && x.shape()[-1] > 0,
            "input [..., channels] and a number of groups that divides the channels", in);
    const std::int64_t channels = x.shape()[-1];
    require(!weight.defined() || (weight.shape().rank() == 1 && weight.elements() > 0 &&
                                  channels % weight.elements() == 0 && weight.elements() % (channels / groups_) == 0),
            "a weight [channels] or that of whole groups", in);
    const Tensor y = like(x);
    rstd_ = Tensor::empty({x.shape().rows(), groups_}, x.dtype());
    for_real(x.dtype(), [&]<class Real>(Real) {
      kernels::rms_norm_forward<Real>({{x.shape().rows(), channels},
                                       groups_,
                                       epsilon_,
                                       factor_,
                                       x.data<Real>(),
                                       data_or_null<Real>(weight),
                                       weight.defined() ? weight.elements() : 0,
                                       y.data<Real>(),
                                       rstd_.data<Real>()});
    });
    if (wants_any()) x_ = save(0, x), weight_ = weight;
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor x = x_.get(), grad_x = reuse_or_new(out[0]);
    const Tensor grad_weight = weight_.defined() ? like(weight_) : Tensor();
    for_real(x.dtype(), [&]<class Real>(Real) {
      kernels::rms_norm_backward<Real>({{x.shape().rows(), x.shape()[-1]},
                                        groups_,
                                        factor_,
                                        x.data<Real>(),
                                        data_or_null<Real>(weight_),
                                        weight_.defined() ? weight_.elements() : 0,
                                        rstd_.data<Real>(),
                                        out[0].data<Real>(),
                                        grad_x.data<Real>(),
                                        data_or_null<Real>(grad_weight)});
    });
    return {grad_x, grad_weight};
  }

 private:
  std::string_view name_;
  std::int64_t groups_;
  double epsilon_, factor_;
  Saved x_;
  Tensor weight_, rstd_;
};

}  // namespace

Var rms_norm(const Var& x, const Var& weight, std::int64_t groups, double epsilon) {
  return run_op_one<RmsNorm>({x, weight}, "rms_norm", groups, epsilon, 1.0);
}

Var l2_norm(const Var& x, std::int64_t groups, double epsilon, double factor) {
  const double width = static_cast<double>(x.shape()[-1]) / static_cast<double>(groups > 0 ? groups : 1);
  return run_op_one<RmsNorm>({x, Var()}, "l2_norm", groups, epsilon / width, factor / std::sqrt(width));
}

}  // namespace rwkvlab
