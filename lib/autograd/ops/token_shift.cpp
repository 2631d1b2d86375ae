// out_j,t = x_t m_j + x_{t-1} (1 - m_j), x_{-1} = previous. Gradients: kernels/token_shift.h.
#include "autograd/ops/token_shift.h"

#include <algorithm>
#include <optional>

#include "autograd/ops/common.h"
#include "kernels/elementwise.h"
#include "kernels/token_shift.h"

namespace rwkvlab {
namespace {

kernels::SequenceSize size_of(const Tensor& x) { return {x.shape()[0], x.shape()[1], x.shape()[2]}; }

template <class Real>
std::vector<Real*> pointers(const Tensors& tensors, std::size_t from = 0) {
  std::vector<Real*> result;
  for (std::size_t i = from; i < tensors.size(); ++i) result.push_back(data_or_null<Real>(tensors[i]));
  return result;
}

// What is mixed with what: null for the sequence's order.
const TokenShift* pointer(const std::optional<TokenShift>& shift) { return shift ? &*shift : nullptr; }

// Inputs: x, previous, mixes...
class TokenMix final : public Op {
 public:
  TokenMix(MixedToken weighs, std::optional<TokenShift> shift) : weighs_(weighs), shift_(std::move(shift)) {}
  std::string_view name() const override { return "token_mix"; }

  Tensors forward(const Tensors& in) override {
    const Tensor &x = in[0], &previous = in[1];
    require(x.shape().rank() == 3 && in.size() > 2 && in.size() <= 2 + kernels::max_token_mixes,
            "input [batch, time, channels] and mixes", in);
    require(!previous.defined() || previous.shape() == Shape{x.shape()[0], x.shape()[2]},
            "a carried token [batch, channels]", in);
    for (std::size_t i = 2; i < in.size(); ++i)
      require(in[i].elements() == x.shape()[2], "one mix weight per channel", in);
    require(!shift_ || (shift_->tokens() == x.shape()[1] && shift_->width() == x.shape()[2] && !previous.defined()),
            "the tokens and channels of the token shift, and no carried token", in);
    Tensors inputs = in;
    if (weighs_ == MixedToken::previous) {
      for (std::size_t i = 2; i < in.size(); ++i) inputs[i] = subtracted_from(1, in[i], like(in[i]));
    }
    if (wants_any()) {
      x_ = save(0, x);
      inputs_ = inputs;
      inputs_[0] = Tensor();
    }
    return blend(inputs, shift_);
  }

  Tensors backward(const Tensors& out) override {
    Tensors grads(inputs_.size());
    const Tensor x = x_.get();
    if (wants(0)) grads[0] = like(x);
    if (wants(1)) grads[1] = like(inputs_[1]);
    for (std::size_t i = 2; i < inputs_.size(); ++i) grads[i] = like(inputs_[i]);
    for_real(x.dtype(), [&]<class Real>(Real) {
      const auto mixes = pointers<Real>(inputs_, 2);
      const auto outs = pointers<Real>(out);
      const std::vector<const Real*> constant_mixes(mixes.begin(), mixes.end());
      const std::vector<const Real*> constant_outs(outs.begin(), outs.end());
      kernels::token_mix_backward<Real>(size_of(x), x.data<Real>(), data_or_null<Real>(inputs_[1]), constant_mixes,
                                        constant_outs, data_or_null<Real>(grads[0]), data_or_null<Real>(grads[1]),
                                        pointers<Real>(grads, 2), pointer(shift_));
    });
    if (weighs_ == MixedToken::previous) {
      for (std::size_t i = 2; i < grads.size(); ++i) subtracted_from(0, grads[i], grads[i]);
    }
    return grads;
  }

  Recompute recompute(std::size_t output) const override {
    return [x = x_, previous = inputs_[1], mix = inputs_[2 + output], shift = shift_] {
      return blend({x.get(), previous, mix}, shift)[0];
    };
  }

 private:
  // offset - x, the complement of a weight or the gradient of one.
  static Tensor subtracted_from(double offset, const Tensor& x, const Tensor& into) {
    for_real(x.dtype(), [&]<class Real>(Real) {
      kernels::scale<Real>(x.elements(), x.data<Real>(), -1.0, offset, into.data<Real>());
    });
    return into;
  }
  static Tensors blend(const Tensors& in, const std::optional<TokenShift>& shift) {
    Tensors outputs;
    for (std::size_t i = 2; i < in.size(); ++i) outputs.push_back(like(in[0]));
    for_real(in[0].dtype(), [&]<class Real>(Real) {
      const auto mixes = pointers<Real>(in, 2);
      const std::vector<const Real*> constant(mixes.begin(), mixes.end());
      kernels::token_mix_forward<Real>(size_of(in[0]), in[0].data<Real>(), data_or_null<Real>(in[1]), constant,
                                       pointers<Real>(outputs), pointer(shift));
    });
    return outputs;
  }
  MixedToken weighs_;
  std::optional<TokenShift> shift_;
  Saved x_;
  Tensors inputs_;  // without x; mixes are weights of the current token
};

// Input: x.
class ShiftTokens final : public Op {
 public:
  explicit ShiftTokens(TokenShift shift) : shift_(std::move(shift)) {}
  std::string_view name() const override { return "shift_tokens"; }

  Tensors forward(const Tensors& in) override {
    const Shape& shape = in[0].shape();
    require(shape.rank() == 3 && shape[1] == shift_.tokens() && shape[2] == shift_.width(),
            "[batch, time, channels] with the tokens and channels of the token shift", in);
    const Tensor y = like(in[0]);
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::token_shift_forward<Real>(size_of(y), in[0].data<Real>(), nullptr, y.data<Real>(), &shift_);
    });
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor dx = like(out[0]);
    for_real(dx.dtype(), [&]<class Real>(Real) {
      kernels::token_shift_backward<Real>(size_of(dx), out[0].data<Real>(), dx.data<Real>(), nullptr, &shift_);
    });
    return {dx};
  }

 private:
  TokenShift shift_;
};

class LastToken final : public Op {
 public:
  std::string_view name() const override { return "last_token"; }

  Tensors forward(const Tensors& in) override {
    const Tensor& x = in[0];
    require(x.shape().rank() == 3 && x.shape()[1] > 0, "input [batch, time, channels] with at least one token", in);
    shape_ = x.shape();
    const Tensor y = Tensor::empty({shape_[0], shape_[2]}, x.dtype());
    for_real(x.dtype(), [&]<class Real>(Real) {
      for (std::int64_t b = 0; b < shape_[0]; ++b) {
        std::copy_n(x.data<Real>() + last_offset(b), shape_[2], y.data<Real>() + b * shape_[2]);
      }
    });
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor dx = Tensor::zeros(shape_, out[0].dtype());
    for_real(dx.dtype(), [&]<class Real>(Real) {
      for (std::int64_t b = 0; b < shape_[0]; ++b) {
        std::copy_n(out[0].data<Real>() + b * shape_[2], shape_[2], dx.data<Real>() + last_offset(b));
      }
    });
    return {dx};
  }

 private:
  std::int64_t last_offset(std::int64_t b) const { return (b * shape_[1] + shape_[1] - 1) * shape_[2]; }
  Shape shape_;
};

}  // namespace

std::vector<Var> token_mix(const Var& x, const Var& previous, const std::vector<Var>& mixes, MixedToken weighs,
                           const TokenShift* shift) {
  std::vector<Var> inputs = {x, previous};
  inputs.insert(inputs.end(), mixes.begin(), mixes.end());
  return run_op(std::make_unique<TokenMix>(weighs, shift == nullptr ? std::nullopt : std::optional<TokenShift>(*shift)),
                inputs);
}

Var shift_tokens(const Var& x, const TokenShift& shift) { return run_op_one<ShiftTokens>({x}, shift); }

Var last_token(const Var& x) { return run_op_one<LastToken>({x}); }

}  // namespace rwkvlab
