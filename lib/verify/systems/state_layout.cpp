#include "verify/systems/state_layout.h"

#include <cmath>

#include "autograd/ops/common.h"

namespace rwkvlab {
namespace {

struct StateSize {
  std::int64_t states, keys, values, rows;
};

// Calls body(in the file's state, in the operator's) for every element.
template <class Body>
void for_each_element(const StateSize& size, const Body& body) {
  for (std::int64_t s = 0; s < size.states; ++s) {
    for (std::int64_t k = 0; k < size.keys; ++k) {
      for (std::int64_t v = 0; v < size.values; ++v) {
        body((s * size.keys + k) * size.values + v, (s * size.rows + v) * size.keys + k);
      }
    }
  }
}
// The same for the sums of keys.
template <class Body>
void for_each_sum(const StateSize& size, const Body& body) {
  if (size.rows == size.values) return;
  for (std::int64_t s = 0; s < size.states; ++s) {
    for (std::int64_t k = 0; k < size.keys; ++k) body(s * size.keys + k, (s * size.rows + size.values) * size.keys + k);
  }
}

Tensors unpacked(const StateSize& size, const Tensor& packed_state, const Shape& state, const Shape& sums) {
  const Tensor values = Tensor::empty(state, packed_state.dtype());
  const Tensor last = size.rows > size.values ? Tensor::empty(sums, packed_state.dtype()) : Tensor();
  for_real(packed_state.dtype(), [&]<class Real>(Real) {
    const Real* const from = packed_state.data<Real>();
    for_each_element(size, [&](auto file, auto own) { values.data<Real>()[file] = from[own]; });
    for_each_sum(size, [&](auto file, auto own) { last.data<Real>()[file] = from[own]; });
  });
  return {values, last};
}

Tensor packed_together(const StateSize& size, const Tensor& state, const Tensor& sums, const Shape& shape) {
  const Tensor result = Tensor::empty(shape, state.dtype());
  for_real(state.dtype(), [&]<class Real>(Real) {
    Real* const to = result.data<Real>();
    for_each_element(size, [&](auto file, auto own) { to[own] = state.data<Real>()[file]; });
    for_each_sum(size, [&](auto file, auto own) { to[own] = sums.data<Real>()[file]; });
  });
  return result;
}

// Inputs: the file's state and sums (or none); output: the operator's state. Or the other way round.
class StateLayout final : public Op {
 public:
  StateLayout(bool unpacks, std::int64_t values) : unpacks_(unpacks), values_(values) {}
  std::string_view name() const override { return "state_layout"; }

  Tensors forward(const Tensors& in) override {
    const Shape& shape = in[0].shape();  // [batch, heads, rows, keys] or [batch, heads, keys, values]
    const std::int64_t keys = unpacks_ ? shape[3] : shape[2];
    const std::int64_t rows = unpacks_ ? shape[2] : values_ + (in[1].defined() ? 1 : 0);
    size_ = {shape[0] * shape[1], keys, values_, rows};
    state_ = {shape[0], shape[1], keys, values_};
    sums_ = {shape[0], shape[1], keys};
    packed_ = {shape[0], shape[1], rows, keys};
    type_ = in[0].dtype();
    if (unpacks_) return unpacked(size_, in[0], state_, sums_);
    return {packed_together(size_, in[0], in[1], packed_)};
  }
  Tensors backward(const Tensors& out) override {
    if (!unpacks_) return unpacked(size_, out[0], state_, sums_);
    const auto or_zeros = [&](const Tensor& grad, const Shape& shape) {
      return grad.defined() ? grad : Tensor::zeros(shape, type_);
    };
    return {packed_together(size_, or_zeros(out[0], state_), or_zeros(out.back(), sums_), packed_)};
  }

 private:
  bool unpacks_;
  std::int64_t values_;
  StateSize size_{};
  Shape state_, sums_, packed_;
  DType type_ = DType::f32;
};

// log x; ∂x = ∂y / x
class Log final : public Op {
 public:
  std::string_view name() const override { return "log"; }
  Tensors forward(const Tensors& in) override {
    x_ = in[0];
    return {mapped([](auto x, auto) { return std::log(x); })};
  }
  Tensors backward(const Tensors& out) override {
    return {mapped([](auto x, auto g) { return g / x; }, out[0])};
  }

 private:
  template <class Function>
  Tensor mapped(const Function& function, const Tensor& other = {}) const {
    const Tensor y = like(x_);
    for_real(y.dtype(), [&]<class Real>(Real) {
      for (std::int64_t i = 0; i < y.elements(); ++i) {
        y.data<Real>()[i] = function(x_.data<Real>()[i], other.defined() ? other.data<Real>()[i] : Real(0));
      }
    });
    return y;
  }
  Tensor x_;
};

}  // namespace

Var operator_state(const Var& state, const Var& sums) {
  return run_op_one<StateLayout>({state, sums}, false, state.shape()[3]);
}

std::pair<Var, Var> file_state(const Var& state, std::int64_t values) {
  const std::vector<Var> parts = run_op(std::make_unique<StateLayout>(true, values), {state});
  return {parts[0], parts[1]};
}

Var log_of(const Var& x) { return run_op_one<Log>({x}); }

}  // namespace rwkvlab
