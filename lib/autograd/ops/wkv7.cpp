#include "autograd/ops/wkv7.h"

#include <utility>

#include "autograd/ops/common.h"
#include "autograd/profiler.h"
#include "kernels/recurrence_flops.h"
#include "kernels/wkv7.h"

namespace rwkvlab {
namespace {

// Inputs: receptance, log_decay, key, value, a, b, state.
class Wkv7 final : public Op {
 public:
  Wkv7(std::int64_t heads, bool wants_final_state) : heads_(heads), wants_final_state_(wants_final_state) {}
  std::string_view name() const override { return "wkv7"; }

  Tensors forward(const Tensors& in) override {
    check(in);
    const Tensor &v = in[3], &a = in[4], &state = in[6];
    const auto size = size_of(in[0], v);
    const Shape state_shape = {size.batch, size.heads, size.value_size, size.key_size};
    const Tensor y = like(v);
    const Tensor final_state = wants_final_state_ ? Tensor::empty(state_shape, v.dtype()) : Tensor();
    if (wants_any()) {
      inputs_.clear();
      for (std::size_t i = 0; i < 6; ++i) inputs_.push_back(in[i].defined() ? save(i, in[i]) : Saved());
      if (a.defined()) read_ = like(v);
      kept_ = Tensor::empty({size.states(), size.chunks(), size.value_size, size.key_size}, v.dtype());
      state_shape_ = state_shape;
    }
    note_flops(flops(size, a.defined(), false));
    for_real(v.dtype(), [&]<class Real>(Real) {
      kernels::wkv7_forward<Real>({size, in[0].data<Real>(), data_or_null<Real>(in[1]), in[2].data<Real>(),
                                   v.data<Real>(), data_or_null<Real>(a), data_or_null<Real>(in[5]),
                                   data_or_null<Real>(state), y.data<Real>(), data_or_null<Real>(final_state),
                                   data_or_null<Real>(read_), data_or_null<Real>(kept_)});
    });
    return {y, final_state};
  }

  Tensors backward(const Tensors& out) override {
    Tensors in, grads(7);
    for (Saved& saved : inputs_) in.push_back(std::exchange(saved, Saved()).get());
    const Tensor& v = in[3];
    const Tensor grad_y = out[0].defined() ? out[0] : Tensor::zeros(v.shape(), v.dtype());
    for (std::size_t i = 0; i < 6; ++i) {
      if (in[i].defined()) grads[i] = reuse_or_new(in[i]);
    }
    if (wants(6)) grads[6] = Tensor::empty(state_shape_, v.dtype());
    note_flops(flops(size_of(in[0], v), in[4].defined(), true));
    for_real(v.dtype(), [&]<class Real>(Real) {
      kernels::Wkv7Backward<Real> call;
      call.size = size_of(in[0], v);
      call.receptance = in[0].data<Real>();
      call.log_decay = data_or_null<Real>(in[1]);
      call.key = in[2].data<Real>();
      call.value = v.data<Real>();
      call.a = data_or_null<Real>(in[4]);
      call.b = data_or_null<Real>(in[5]);
      call.read = data_or_null<Real>(read_);
      call.kept_states = kept_.data<Real>();
      call.grad_y = grad_y.data<Real>();
      call.grad_final_state = data_or_null<Real>(out[1]);
      call.grad_receptance = grads[0].data<Real>();
      call.grad_log_decay = data_or_null<Real>(grads[1]);
      call.grad_key = grads[2].data<Real>();
      call.grad_value = grads[3].data<Real>();
      call.grad_a = data_or_null<Real>(grads[4]);
      call.grad_b = data_or_null<Real>(grads[5]);
      call.grad_state = data_or_null<Real>(grads[6]);
      kernels::wkv7_backward(call);
    });
    return grads;
  }

 private:
  static double flops(const kernels::Wkv7Size& size, bool has_delta_rule, bool backward) {
    return kernels::wkv7_flops(size.batch, size.time, size.heads, size.key_size, size.value_size, has_delta_rule,
                               backward);
  }
  void check(const Tensors& in) const {
    const Tensor &r = in[0], &v = in[3], &state = in[6];
    for (const Tensor* const x : {&r, &v}) {
      require(x->shape().rank() == 3 && heads_ >= 1 && x->shape()[2] % heads_ == 0 && x->shape()[2] > 0,
              "receptance and value [batch, time, channels] whose channels the heads divide", in);
    }
    bool equal = in[4].defined() == in[5].defined() && v.shape()[0] == r.shape()[0] && v.shape()[1] == r.shape()[1];
    for (const std::size_t i : {1, 2, 4, 5}) equal = equal && (!in[i].defined() || in[i].shape() == r.shape());
    require(equal,
            "receptance, log_decay and key of one shape, both of a and b of that shape or neither, and a value of as "
            "many tokens",
            in);
    require(
        !state.defined() || state.shape() == Shape{v.shape()[0], heads_, v.shape()[2] / heads_, r.shape()[2] / heads_},
        "a state [batch, heads, value channels, key channels]", in);
  }
  kernels::Wkv7Size size_of(const Tensor& r, const Tensor& v) const {
    return {v.shape()[0], v.shape()[1], heads_, r.shape()[2] / heads_, v.shape()[2] / heads_};
  }

  std::int64_t heads_;
  bool wants_final_state_;
  std::vector<Saved> inputs_;
  Tensor read_, kept_;
  Shape state_shape_;
};

}  // namespace

Wkv7Result wkv7(const Wkv7Inputs& inputs, const Var& state, std::int64_t heads, bool wants_final_state) {
  auto outputs = run_op(std::make_unique<Wkv7>(heads, wants_final_state),
                        {inputs.receptance, inputs.log_decay, inputs.key, inputs.value, inputs.a, inputs.b, state});
  return {outputs[0], outputs[1]};
}

}  // namespace rwkvlab
