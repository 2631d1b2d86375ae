// out_j,t = x_t + (x_{t-1} - x_t) (weight_j + correction_j,t), x_{-1} = previous. Gradients: kernels/token_lerp.h.
#include "autograd/ops/token_lerp.h"

#include <algorithm>
#include <optional>

#include "autograd/ops/common.h"
#include "kernels/token_lerp.h"

namespace rwkvlab {
namespace {

// Pointers into tensors, null for undefined ones.
template <class Real>
std::vector<Real*> pointers(const Tensors& tensors, std::size_t from) {
  std::vector<Real*> result;
  for (std::size_t i = from; i < tensors.size(); ++i) result.push_back(data_or_null<Real>(tensors[i]));
  return result;
}

// Inputs: x, previous, correction, weights...
class TokenLerp final : public Op {
 public:
  explicit TokenLerp(std::optional<TokenShift> shift) : shift_(std::move(shift)) {}
  std::string_view name() const override { return "token_lerp"; }

  Tensors forward(const Tensors& in) override {
    const Shape& shape = in[0].shape();
    const std::int64_t weights = static_cast<std::int64_t>(in.size()) - first_weight;
    require(shape.rank() == 3 && weights > 0, "input [batch, time, channels] and weights", in);
    require(!in[1].defined() || in[1].shape() == Shape{shape[0], shape[2]}, "a carried token [batch, channels]", in);
    require(in[2].shape() == Shape{weights, shape[0] * shape[1], shape[2]},
            "a correction [weights, batch * time, channels]", in);
    for (std::size_t i = first_weight; i < in.size(); ++i) {
      require(in[i].elements() == shape[2], "one weight per channel", in);
    }
    require(!shift_ || (shift_->tokens() == shape[1] && shift_->width() == shape[2] && !in[1].defined()),
            "the tokens and channels of the token shift, and no carried token", in);
    if (wants_any()) {
      x_ = save(0, in[0]), correction_ = save(2, in[2]);
      inputs_ = in;
      inputs_[0] = inputs_[2] = Tensor();
    }
    return blend(in, shift_);
  }

  Tensors backward(const Tensors& out) override {
    inputs_[0] = x_.get(), inputs_[2] = correction_.get();
    Tensors grads(inputs_.size());
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      // Corrections and weights always: one loop for both, whose roundings then do not depend on what is wanted.
      if (wants(i) || i >= 2) grads[i] = like(inputs_[i]);
    }
    for_real(inputs_[0].dtype(), [&]<class Real>(Real) {
      const auto weights = pointers<Real>(inputs_, first_weight);
      const auto grad_weights = pointers<Real>(grads, first_weight), grad_outputs = pointers<Real>(out, 0);
      kernels::TokenLerpBackward<Real> call;
      call.in = kernel_call<Real>(inputs_, weights, shift_);
      call.grad_outputs = grad_outputs.data();
      call.grad_x = data_or_null<Real>(grads[0]);
      call.grad_previous = data_or_null<Real>(grads[1]);
      call.grad_weights = grad_weights.data();
      call.grad_correction = grads[2].data<Real>();
      kernels::token_lerp_backward(call);
    });
    return grads;
  }

  Recompute recompute(std::size_t output) const override {
    const auto j = static_cast<std::int64_t>(output);
    return
        [x = x_, previous = inputs_[1], all = correction_, j, weight = inputs_[first_weight + output], shift = shift_] {
          return blend({x.get(), previous, all.get().rows(j, j + 1), weight}, shift)[0];
        };
  }

 private:
  static constexpr std::size_t first_weight = 3;

  template <class Real>
  static kernels::TokenLerp<Real> kernel_call(const Tensors& in, const std::vector<Real*>& weights,
                                              const std::optional<TokenShift>& shift) {
    kernels::TokenLerp<Real> call;
    call.size = {in[0].shape()[0], in[0].shape()[1], in[0].shape()[2]};
    call.outputs = static_cast<std::int64_t>(weights.size());
    call.x = in[0].data<Real>();
    call.previous = data_or_null<Real>(in[1]);
    call.weights = weights.data();
    call.correction = in[2].data<Real>();
    call.shift = shift ? &*shift : nullptr;
    return call;
  }

  static Tensors blend(const Tensors& in, const std::optional<TokenShift>& shift) {
    Tensors outputs;
    for (std::size_t i = first_weight; i < in.size(); ++i) outputs.push_back(like(in[0]));
    for_real(in[0].dtype(), [&]<class Real>(Real) {
      const auto weights = pointers<Real>(in, first_weight), outs = pointers<Real>(outputs, 0);
      kernels::token_lerp_forward<Real>(kernel_call<Real>(in, weights, shift), outs.data());
    });
    return outputs;
  }
  std::optional<TokenShift> shift_;
  Saved x_, correction_;
  Tensors inputs_;  // the others; all during backward
};

// y[g, row, c] = x[row, g n + c]; the gradient is copied back.
class ChannelGroups final : public Op {
 public:
  explicit ChannelGroups(std::int64_t groups) : groups_(groups) {}
  std::string_view name() const override { return "channel_groups"; }

  Tensors forward(const Tensors& in) override {
    shape_ = in[0].shape();
    require(groups_ > 0 && shape_.rank() == 3 && shape_[2] % groups_ == 0,
            "input [batch, time, channels] whose channels are a multiple of the groups", in);
    source_ = source(0);
    return {grouped(in[0], groups_)};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor dx = Tensor::empty(shape_, out[0].dtype());
    for_real(dx.dtype(), [&]<class Real>(Real) {
      each(shape_, groups_, [&](std::int64_t joined, std::int64_t split, std::int64_t n) {
        std::copy_n(out[0].data<Real>() + split, n, dx.data<Real>() + joined);
      });
    });
    return {dx};
  }
  // Nothing is kept here; but what can be computed again can be copied again.
  Recompute recompute(std::size_t) const override {
    if (!source_) return {};
    return [source = source_, groups = groups_] { return grouped(source(), groups); };
  }

 private:
  static Tensor grouped(const Tensor& x, std::int64_t groups) {
    Tensor y = Tensor::empty({groups, x.shape().rows(), x.shape()[2] / groups}, x.dtype());
    for_real(y.dtype(), [&]<class Real>(Real) {
      each(x.shape(), groups, [&](std::int64_t joined, std::int64_t split, std::int64_t n) {
        std::copy_n(x.data<Real>() + joined, n, y.data<Real>() + split);
      });
    });
    return y;
  }
  template <class Body>
  static void each(const Shape& shape, std::int64_t groups, const Body& body) {
    const std::int64_t rows = shape.rows(), n = shape[2] / groups;
    for (std::int64_t g = 0; g < groups; ++g) {
      for (std::int64_t row = 0; row < rows; ++row) body(row * shape[2] + g * n, (g * rows + row) * n, n);
    }
  }
  std::int64_t groups_;
  Shape shape_;
  Recompute source_;
};

// y[i count + j] = x[i];  ∂x[i] = Σ_j ∂y[i count + j]
class RepeatElements final : public Op {
 public:
  explicit RepeatElements(std::int64_t count) : count_(count) {}
  std::string_view name() const override { return "repeat_elements"; }

  Tensors forward(const Tensors& in) override {
    require(count_ > 0, "a positive count", in);
    shape_ = in[0].shape();
    const Tensor y = Tensor::empty({shape_.elements() * count_}, in[0].dtype());
    for_real(y.dtype(), [&]<class Real>(Real) {
      for (std::int64_t i = 0; i < y.elements(); ++i) y.data<Real>()[i] = in[0].data<Real>()[i / count_];
    });
    return {y};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor dx = Tensor::zeros(shape_, out[0].dtype());
    for_real(dx.dtype(), [&]<class Real>(Real) {
      for (std::int64_t i = 0; i < out[0].elements(); ++i) dx.data<Real>()[i / count_] += out[0].data<Real>()[i];
    });
    return {dx};
  }

 private:
  std::int64_t count_;
  Shape shape_;
};

}  // namespace

std::vector<Var> token_lerp(const Var& x, const Var& previous, const std::vector<Var>& weights, const Var& correction,
                            const TokenShift* shift) {
  std::vector<Var> inputs = {x, previous, correction};
  inputs.insert(inputs.end(), weights.begin(), weights.end());
  return run_op(std::make_unique<TokenLerp>(shift == nullptr ? std::nullopt : std::optional<TokenShift>(*shift)),
                inputs);
}

Var channel_groups(const Var& x, std::int64_t groups) { return run_op_one<ChannelGroups>({x}, groups); }

Var repeat_elements(const Var& x, std::int64_t count) { return run_op_one<RepeatElements>({x}, count); }

}  // namespace rwkvlab
