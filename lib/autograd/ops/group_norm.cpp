// y = n ⊙ weight + bias, n = (x - mean) rstd per row and group. The gradient is in kernels/group_norm.h.
#include "autograd/ops/group_norm.h"

#include "autograd/ops/common.h"
#include "kernels/group_norm.h"

namespace rwkvlab {
namespace {

class GroupNorm final : public Op {
 public:
  GroupNorm(std::int64_t groups, double epsilon) : groups_(groups), epsilon_(epsilon) {}
  std::string_view name() const override { return "group_norm"; }

  Tensors forward(const Tensors& in) override {
    const Tensor &x = in[0], &weight = in[1], &bias = in[2];
    require(x.shape().rank() >= 1 && weight.shape() == Shape{x.shape()[-1]} && bias.shape() == weight.shape() &&
                groups_ >= 1 && x.shape()[-1] % groups_ == 0,
            "input [..., channels], weight and bias [channels], and a number of groups that divides the channels", in);
    mean_ = Tensor::empty({x.shape().rows(), groups_}, x.dtype());
    rstd_ = like(mean_);
    if (wants_any()) x_ = save(0, x), weight_ = weight, bias_ = bias;
    return {normalised({x, weight, bias, mean_, rstd_, groups_, epsilon_})};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor x = x_.get(), grad_x = reuse_or_new(out[0]), grad_weight = like(weight_), grad_bias = like(weight_);
    for_real(x.dtype(), [&]<class Real>(Real) {
      kernels::group_norm_backward<Real>({{x.shape().rows(), x.shape()[-1]},
                                          groups_,
                                          x.data<Real>(),
                                          weight_.data<Real>(),
                                          mean_.data<Real>(),
                                          rstd_.data<Real>(),
                                          out[0].data<Real>(),
                                          grad_x.data<Real>(),
                                          grad_weight.data<Real>(),
                                          grad_bias.data<Real>()});
    });
    return {grad_x, grad_weight, grad_bias};
  }

  Recompute recompute(std::size_t) const override {
    return computed_once([x = x_, weight = weight_, bias = bias_, groups = groups_, epsilon = epsilon_] {
      const Tensor input = x.get();
      const Tensor statistics = Tensor::empty({2, input.shape().rows(), groups}, input.dtype());
      return normalised({input, weight, bias, statistics.rows(0, 1), statistics.rows(1, 2), groups, epsilon});
    });
  }

 private:
  struct Parts {
    Tensor x, weight, bias, mean, rstd;
    std::int64_t groups;
    double epsilon;
  };
  static Tensor normalised(const Parts& p) {
    Tensor y = like(p.x);
    for_real(p.x.dtype(), [&]<class Real>(Real) {
      kernels::group_norm_forward<Real>({{p.x.shape().rows(), p.x.shape()[-1]},
                                         p.groups,
                                         p.epsilon,
                                         p.x.data<Real>(),
                                         p.weight.data<Real>(),
                                         p.bias.data<Real>(),
                                         y.data<Real>(),
                                         p.mean.data<Real>(),
                                         p.rstd.data<Real>()});
    });
    return y;
  }

  std::int64_t groups_;
  double epsilon_;
  Saved x_;
  Tensor weight_, bias_, mean_, rstd_;
};

}  // namespace

Var group_norm(const Var& x, const Var& weight, const Var& bias, std::int64_t groups, double epsilon) {
  return run_op_one<GroupNorm>({x, weight, bias}, groups, epsilon);
}

}  // namespace rwkvlab
