#include "autograd/ops/wkv4.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/common.h"
#include "autograd/profiler.h"
#include "kernels/recurrence_flops.h"
#include "kernels/wkv4.h"

namespace rwkvlab {
namespace {

kernels::SequenceSize size_of(const Tensor& k) { return {k.shape()[0], k.shape()[1], k.shape()[2]}; }

// The gradient that reaches p_T of the final state beyond the sums a e^p and b e^p. What follows in a model depends on
// those sums alone, and then dL/dp = a dL/da + b dL/db, which the kernel's gradient contains; the rest,
//   g = dL/dp - (a dL/da + b dL/db),
// belongs to the maximum p_T = max(p_0 + T w, k_i + (T-1-i) w), w = -exp(time_decay): to the term that is largest.
template <class Real>
struct ExponentGradient {
  kernels::SequenceSize size;
  const Real *time_decay, *key, *state, *final_state, *grad_final_state;
  Real *grad_time_decay, *grad_key, *grad_state;

  void add() const {
    for (std::int64_t b = 0; b < size.batch; ++b) {
      for (std::int64_t c = 0; c < size.channels; ++c) add_channel(b, c);
    }
  }

  void add_channel(std::int64_t b, std::int64_t c) const {
    const std::int64_t a_row = b * 3 * size.channels + c, b_row = a_row + size.channels, p_row = b_row + size.channels;
    const Real g = grad_final_state[p_row] -
                   (final_state[a_row] * grad_final_state[a_row] + final_state[b_row] * grad_final_state[b_row]);
    if (g == 0) return;
    const Real w = -std::exp(time_decay[c]);
    Real p = state != nullptr ? state[p_row] : static_cast<Real>(kernels::empty_state_exponent);
    std::int64_t origin = -1;  // index of the largest term; -1: the initial state
    for (std::int64_t t = 0; t < size.time; ++t) {
      const Real k = key[(b * size.time + t) * size.channels + c];
      p += w;
      if (k > p) {
        p = k;
        origin = t;
      }
    }
    if (origin >= 0) grad_key[(b * size.time + origin) * size.channels + c] += g;
    if (origin < 0 && grad_state != nullptr) grad_state[p_row] += g;
    // dw / d time_decay = w. An initial state at -1 decays T times, a key at i T-1-i times.
    grad_time_decay[c] += g * w * static_cast<Real>(size.time - 1 - origin);
  }
};

// The call of a kernel on time_decay, time_first, k, v and state.
template <class Call, class Real>
Call with_inputs(const Tensors& in) {
  Call call;
  call.size = size_of(in[2]);
  call.time_decay = in[0].data<Real>();
  call.time_first = in[1].data<Real>();
  call.key = in[2].data<Real>();
  call.value = in[3].data<Real>();
  call.state = data_or_null<Real>(in[4]);
  return call;
}

// Inputs: time_decay, time_first, k, v, state.
class Wkv4 final : public Op {
 public:
  explicit Wkv4(bool wants_final_state) : wants_final_state_(wants_final_state) {}
  std::string_view name() const override { return "wkv4"; }

  Tensors forward(const Tensors& in) override {
    const Tensor &decay = in[0], &first = in[1], &k = in[2], &v = in[3], &state = in[4];
    require(k.shape().rank() == 3 && v.shape() == k.shape(), "key and value [batch, time, channels]", in);
    const Shape state_shape = {k.shape()[0], 3, k.shape()[2]};
    require(decay.elements() == k.shape()[2] && first.elements() == k.shape()[2],
            "time_decay and time_first [channels]", in);
    require(!state.defined() || state.shape() == state_shape, "a state [batch, 3, channels]", in);
    const Tensor y = like(k);
    const Tensor final_state = wants_final_state_ ? Tensor::empty(state_shape, k.dtype()) : Tensor();
    note_flops(kernels::wkv4_flops(size_of(k), false));
    for_real(k.dtype(), [&]<class Real>(Real) {
      auto call = with_inputs<kernels::Wkv4Forward<Real>, Real>(in);
      call.y = y.data<Real>();
      call.final_state = data_or_null<Real>(final_state);
      kernels::wkv4_forward(call);
    });
    if (wants_any()) {
      inputs_ = in;
      final_state_ = final_state;
    }
    return {y, final_state};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor &decay = inputs_[0], &first = inputs_[1], &k = inputs_[2], &v = inputs_[3], &state = inputs_[4];
    const Tensor grad_y = out[0].defined() ? out[0] : Tensor::zeros(k.shape(), k.dtype());
    Tensors grads = {like(decay), like(first), like(k), like(v), wants(4) ? like(state) : Tensor()};
    note_flops(kernels::wkv4_flops(size_of(k), true));
    for_real(k.dtype(), [&]<class Real>(Real) {
      auto call = with_inputs<kernels::Wkv4Backward<Real>, Real>(inputs_);
      call.grad_y = grad_y.data<Real>();
      call.grad_final_state = data_or_null<Real>(out[1]);
      call.grad_time_decay = grads[0].data<Real>();
      call.grad_time_first = grads[1].data<Real>();
      call.grad_key = grads[2].data<Real>();
      call.grad_value = grads[3].data<Real>();
      call.grad_state = data_or_null<Real>(grads[4]);
      kernels::wkv4_backward(call);
      if (!out[1].defined()) return;
      ExponentGradient<Real>{call.size,
                             call.time_decay,
                             call.key,
                             call.state,
                             final_state_.data<Real>(),
                             call.grad_final_state,
                             call.grad_time_decay,
                             call.grad_key,
                             call.grad_state}
          .add();
    });
    return grads;
  }

 private:
  bool wants_final_state_;
  Tensors inputs_;
  Tensor final_state_;
};

}  // namespace

Wkv4Result wkv4(const Var& time_decay, const Var& time_first, const Var& k, const Var& v, const Var& state,
                bool wants_final_state) {
  auto outputs = run_op(std::make_unique<Wkv4>(wants_final_state), {time_decay, time_first, k, v, state});
  return {outputs[0], outputs[1]};
}

Tensor wkv4_weights(const Tensor& time_decay, const Tensor& time_first, const Tensor& k) {
  const std::int64_t batch = k.shape()[0], time = k.shape()[1], channels = k.shape()[2];
  Tensor weights = Tensor::zeros({batch, time, time, channels}, k.dtype());
  for_real(k.dtype(), [&]<class Real>(Real) {
    std::vector<double> logits(static_cast<std::size_t>(time));
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const double delta = std::exp(static_cast<double>(time_decay.data<Real>()[c]));
        for (std::int64_t t = 0; t < time; ++t) {
          for (std::int64_t i = 0; i <= t; ++i) {
            const double key = k.data<Real>()[(b * time + i) * channels + c];
            logits[i] = i < t ? key - static_cast<double>(t - 1 - i) * delta : key + time_first.data<Real>()[c];
          }
          const double maximum = *std::max_element(logits.begin(), logits.begin() + t + 1);
          double total = 0;
          for (std::int64_t i = 0; i <= t; ++i) total += std::exp(logits[i] - maximum);
          for (std::int64_t i = 0; i <= t; ++i) {
            weights.data<Real>()[((b * time + t) * time + i) * channels + c] =
                static_cast<Real>(std::exp(logits[i] - maximum) / total);
          }
        }
      }
    }
  });
  return weights;
}

}  // namespace rwkvlab
