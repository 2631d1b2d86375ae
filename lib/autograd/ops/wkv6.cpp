#include "autograd/ops/wkv6.h"

#include "autograd/ops/common.h"
#include "autograd/profiler.h"
#include "kernels/recurrence_flops.h"
#include "kernels/wkv6.h"

namespace rwkvlab {
namespace {

// Inputs: receptance, key, value, decay, bonus, state.
class Wkv6 final : public Op {
 public:
  Wkv6(std::int64_t head_size, bool is_reversed, bool wants_final_state)
      : head_size_(head_size), is_reversed_(is_reversed), wants_final_state_(wants_final_state) {}
  std::string_view name() const override { return "wkv6"; }

  Tensors forward(const Tensors& in) override {
    check(in);
    const Tensor y = like(in[0]);
    const kernels::Wkv6Size size = size_of(in[0]);
    const Shape state_shape = {size.batch, size.heads, size.head_size, size.head_size};
    const Tensor final_state = wants_final_state_ ? Tensor::empty(state_shape, y.dtype()) : Tensor();
    if (wants_any()) {
      inputs_ = in;
      kept_states_ = Tensor::empty({size.batch, size.heads, size.chunks(), head_size_ * head_size_}, y.dtype());
    }
    note_flops(kernels::wkv6_flops(size.batch, size.time, size.heads, head_size_, false));
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::wkv6_forward<Real>(
          {kernel_inputs<Real>(in), y.data<Real>(), data_or_null<Real>(final_state), data_or_null<Real>(kept_states_)});
    });
    return {y, final_state};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor grad_y = out[0].defined() ? out[0] : Tensor::zeros(inputs_[0].shape(), inputs_[0].dtype());
    Tensors grads(6);
    for (std::size_t i = 0; i < 5; ++i) grads[i] = reuse_or_new(inputs_[i]);
    if (wants(5)) grads[5] = like(inputs_[5]);
    const kernels::Wkv6Size size = size_of(grad_y);
    note_flops(kernels::wkv6_flops(size.batch, size.time, size.heads, head_size_, true));
    for_real(grad_y.dtype(), [&]<class Real>(Real) {
      kernels::Wkv6Backward<Real> call;
      call.in = kernel_inputs<Real>(inputs_);
      call.kept_states = kept_states_.data<Real>();
      call.grad_y = grad_y.data<Real>();
      call.grad_final_state = data_or_null<Real>(out[1]);
      call.grad_receptance = grads[0].data<Real>();
      call.grad_key = grads[1].data<Real>();
      call.grad_value = grads[2].data<Real>();
      call.grad_decay = grads[3].data<Real>();
      call.grad_bonus = grads[4].data<Real>();
      call.grad_state = data_or_null<Real>(grads[5]);
      kernels::wkv6_backward(call);
    });
    return grads;
  }

 private:
  kernels::Wkv6Size size_of(const Tensor& r) const {
    return {r.shape()[0], r.shape()[1], r.shape()[2] / head_size_, head_size_};
  }
  void check(const Tensors& in) const {
    const Shape& shape = in[0].shape();
    require(shape.rank() == 3 && in[1].shape() == shape && in[2].shape() == shape,
            "receptance, key and value [batch, time, channels]", in);
    require(head_size_ > 0 && shape[2] % head_size_ == 0, "channels that are a multiple of the head size", in);
    require(in[3].shape() == shape || in[3].elements() == shape[2], "a decay [batch, time, channels] or [channels]",
            in);
    require(in[4].elements() == shape[2], "a bonus [channels]", in);
    const Shape state_shape = {shape[0], shape[2] / head_size_, head_size_, head_size_};
    require(!in[5].defined() || in[5].shape() == state_shape, "a state [batch, heads, head size, head size]", in);
  }
  template <class Real>
  kernels::Wkv6Inputs<Real> kernel_inputs(const Tensors& in) const {
    return {size_of(in[0]),     in[0].data<Real>(),        in[1].data<Real>(),
            in[2].data<Real>(), in[3].data<Real>(),        in[3].shape() != in[0].shape(),
            in[4].data<Real>(), data_or_null<Real>(in[5]), is_reversed_};
  }

  std::int64_t head_size_;
  bool is_reversed_, wants_final_state_;
  Tensors inputs_;
  Tensor kept_states_;
};

// y[b, h, i, j] = x[h, j, i];  ∂x[h, j, i] = Σ_b ∂y[b, h, i, j]
class SharedInitialState final : public Op {
 public:
  explicit SharedInitialState(std::int64_t batch) : batch_(batch) {}
  std::string_view name() const override { return "shared_initial_state"; }

  Tensors forward(const Tensors& in) override {
    shape_ = in[0].shape();
    require(shape_.rank() == 3 && shape_[1] == shape_[2], "a state [heads, head size, head size]", in);
    const Tensor y = Tensor::empty({batch_, shape_[0], shape_[1], shape_[2]}, in[0].dtype());
    for_real(y.dtype(), [&]<class Real>(Real) {
      each([&](std::int64_t stored, std::int64_t used) { y.data<Real>()[used] = in[0].data<Real>()[stored]; });
    });
    return {y};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor dx = Tensor::zeros(shape_, out[0].dtype());
    for_real(dx.dtype(), [&]<class Real>(Real) {
      each([&](std::int64_t stored, std::int64_t used) { dx.data<Real>()[stored] += out[0].data<Real>()[used]; });
    });
    return {dx};
  }

 private:
  template <class Body>
  void each(const Body& body) const {
    const std::int64_t heads = shape_[0], n = shape_[1];
    for (std::int64_t unit = 0; unit < batch_ * heads; ++unit) {
      for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < n; ++j) body((unit % heads * n + j) * n + i, (unit * n + i) * n + j);
      }
    }
  }
  std::int64_t batch_;
  Shape shape_;
};

}  // namespace

Wkv6Result wkv6(const Wkv6Inputs& in, bool wants_final_state) {
  auto outputs = run_op(std::make_unique<Wkv6>(in.head_size, in.is_reversed, wants_final_state),
                        {in.receptance, in.key, in.value, in.decay, in.bonus, in.state});
  return {outputs[0], outputs[1]};
}

Var shared_initial_state(const Var& learned, std::int64_t batch) {
  return run_op_one<SharedInitialState>({learned}, batch);
}

}  // namespace rwkvlab
