// Blends of tokens with those that a token shift names, and their gradients: what the operations that begin with them
// share. Included by this folder's sources only.
#pragma once

#include <optional>

#include "autograd/ops/token_shift.h"
#include "autograd/var.h"

namespace rwkvlab {

/// blend_j,t = x_t m_j + x_(t-1) (1 - m_j), x_(-1) = previous or 0; with a token shift, the token that it names stands
/// in place of t - 1. x is handed in where it is needed: operations keep it in their own way.
class TokenMixing {
 public:
  TokenMixing(MixedToken weighs, const TokenShift* shift)
      : weighs_(weighs), shift_(shift == nullptr ? std::nullopt : std::optional<TokenShift>(*shift)) {}

  /// What is wrong with the shapes: what was expected; null: nothing. Only then may the rest be called.
  const char* unfit(const Tensor& x, const Tensor& previous, const Tensors& mixes) const;
  void set(const Tensor& previous, const Tensors& mixes);

  std::size_t count() const { return mixes_.size(); }
  const Tensor& previous() const { return previous_; }
  /// Weights of the current token, whichever token the mixes weigh.
  const Tensors& mixes() const { return mixes_; }
  /// Null for the sequence's order.
  const TokenShift* shift() const { return shift_ ? &*shift_ : nullptr; }

  Tensors blends(const Tensor& x) const;
  /// Blend j, by itself.
  Tensor blend(std::size_t j, const Tensor& x) const;
  /// Gradients of x, of previous (undefined where not wanted) and of the mixes. An undefined gradient of a blend is 0.
  Tensors backward(const Tensor& x, const Tensors& blend_grads, bool wants_x, bool wants_previous) const;

 private:
  Tensors blends_of(const Tensors& mixes, const Tensor& x) const;

  MixedToken weighs_;
  std::optional<TokenShift> shift_;
  Tensor previous_;
  Tensors mixes_;
};

}  // namespace rwkvlab
