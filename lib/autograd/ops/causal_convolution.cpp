// The equations and their gradients are in kernels/causal_convolution.h.
#include "autograd/ops/causal_convolution.h"

#include "autograd/ops/common.h"
#include "kernels/causal_convolution.h"

namespace rwkvlab {
namespace {

// Inputs: x, weight, bias, state.
class CausalConvolution final : public Op {
 public:
  explicit CausalConvolution(bool wants_final_state) : wants_final_state_(wants_final_state) {}
  std::string_view name() const override { return "causal_convolution"; }

  Tensors forward(const Tensors& in) override {
    check(in);
    const Tensor &x = in[0], &weight = in[1];
    const Tensor y = like(x), final_state = wants_final_state_ ? Tensor::empty(state_shape(in), x.dtype()) : Tensor();
    for_real(x.dtype(), [&]<class Real>(Real) {
      kernels::causal_convolution_forward<Real>({size_of(x), weight.shape()[-1], x.data<Real>(), weight.data<Real>(),
                                                 data_or_null<Real>(in[2]), data_or_null<Real>(in[3]), y.data<Real>(),
                                                 data_or_null<Real>(final_state)});
    });
    if (wants_any()) x_ = save(0, x), weight_ = weight, bias_ = in[2], state_ = in[3];
    return {y, final_state};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor x = x_.get(), grad_y = out[0].defined() ? out[0] : Tensor::zeros(x.shape(), x.dtype());
    Tensors grads = {like(x), like(weight_), bias_.defined() ? like(bias_) : Tensor(),
                     state_.defined() ? like(state_) : Tensor()};
    for_real(x.dtype(), [&]<class Real>(Real) {
      kernels::causal_convolution_backward<Real>(
          {size_of(x), weight_.shape()[-1], x.data<Real>(), weight_.data<Real>(), data_or_null<Real>(state_),
           grad_y.data<Real>(), data_or_null<Real>(out[1]), grads[0].data<Real>(), grads[1].data<Real>(),
           data_or_null<Real>(grads[2]), data_or_null<Real>(grads[3])});
    });
    return grads;
  }

 private:
  static kernels::SequenceSize size_of(const Tensor& x) { return {x.shape()[0], x.shape()[1], x.shape()[2]}; }
  static Shape state_shape(const Tensors& in) { return {in[0].shape()[0], in[1].shape()[-1] - 1, in[0].shape()[2]}; }
  void check(const Tensors& in) const {
    const Shape &x = in[0].shape(), &weight = in[1].shape();
    require(x.rank() == 3 && weight.rank() >= 2 && weight[0] == x[2] && weight[-1] > 0 &&
                in[1].elements() == x[2] * weight[-1],
            "input [batch, time, channels] and a weight [channels, taps]", in);
    require(!in[2].defined() || in[2].shape() == Shape{x[2]}, "a bias [channels]", in);
    require(!in[3].defined() || in[3].shape() == state_shape(in), "a state [batch, taps - 1, channels]", in);
  }

  bool wants_final_state_;
  Saved x_;
  Tensor weight_, bias_, state_;
};

}  // namespace

CausalConvolutionResult causal_convolution(const Var& x, const Var& weight, const Var& bias, const Var& state,
                                           bool wants_final_state) {
  auto outputs = run_op(std::make_unique<CausalConvolution>(wants_final_state), {x, weight, bias, state});
  return {outputs[0], outputs[1]};
}

}  // namespace rwkvlab
