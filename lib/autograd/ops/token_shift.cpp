// out_j,t = x_t m_j + x_{t-1} (1 - m_j), x_{-1} = previous. Gradients: kernels/token_shift.h.
#include "autograd/ops/token_shift.h"

#include <algorithm>

#include "autograd/ops/common.h"
#include "autograd/ops/token_mixing.h"
#include "kernels/token_shift.h"

namespace rwkvlab {
namespace {

kernels::SequenceSize size_of(const Tensor& x) { return {x.shape()[0], x.shape()[1], x.shape()[2]}; }

// Inputs: x, previous, mixes...
class TokenMix final : public Op {
 public:
  TokenMix(MixedToken weighs, const TokenShift* shift) : mixing_(weighs, shift) {}
  std::string_view name() const override { return "token_mix"; }

  Tensors forward(const Tensors& in) override {
    const Tensors mixes(in.begin() + 2, in.end());
    if (const char* const expected = mixing_.unfit(in[0], in[1], mixes)) fail_shapes(expected, in);
    mixing_.set(in[1], mixes);
    if (wants_any()) x_ = save(0, in[0]);
    return mixing_.blends(in[0]);
  }

  Tensors backward(const Tensors& out) override { return mixing_.backward(x_.get(), out, wants(0), wants(1)); }

  Recompute recompute(std::size_t output) const override {
    return [x = x_, mixing = mixing_, output] { return mixing.blend(output, x.get()); };
  }

 private:
  TokenMixing mixing_;
  Saved x_;
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
  return run_op(std::make_unique<TokenMix>(weighs, shift), inputs);
}

Var shift_tokens(const Var& x, const TokenShift& shift) { return run_op_one<ShiftTokens>({x}, shift); }

Var last_token(const Var& x) { return run_op_one<LastToken>({x}); }

}  // namespace rwkvlab
