// The two products of a channel mix with what lies between them, block of tokens by block of tokens, so that the hidden
// layer is activated (and rounded) while it is in the cache, and kept once.
#pragma once

#include <array>
#include <type_traits>

#include "kernels/activation.h"
#include "kernels/matmul.h"

namespace rwkvlab::kernels {

/// Whether the derivative of an activation follows from its value, so that the hidden layer need not be kept as it was
/// before: relu (f' = 1 where f > 0) and squared_relu (f' = 2 sqrt(f)).
bool slope_follows_from_value(Activation kind);

/// h = f(x Wkᵀ) [rows, hidden], y = h Wvᵀ [rows, outputs]. Operand: float, double, or Bfloat16 for operands in bfloat16
/// (h too, rounded as round_to_bfloat16 does) with sums in float.
template <class Operand>
struct FeedForward {
  /// Of sums and of what is not an operand.
  using Real = std::conditional_t<std::is_same_v<Operand, Bfloat16>, float, Operand>;

  Activation activation = Activation::squared_relu;  ///< one whose slope follows from its value
  Index rows = 0, inputs = 0, hidden = 0, outputs = 0;
  const Operand* key = nullptr;    ///< Wk [hidden, inputs]
  const Operand* value = nullptr;  ///< Wv [outputs, hidden]

  /// The two products of the forward pass, for those who only count.
  std::array<MatmulCall, 2> forward_products() const;
  /// The two of the backward pass: ∂y Wv, and with Wk.
  std::array<MatmulCall, 2> backward_products() const;
};

/// x [rows, inputs]; out h [rows, hidden], y [rows, outputs]. The same bits for every thread count.
template <class Operand>
void feed_forward(const FeedForward<Operand>& layer, const Operand* x, Operand* h,
                  typename FeedForward<Operand>::Real* y);

/// g = (∂y Wv) ⊙ f'(x Wkᵀ) and ∂x = g Wk. h [rows, hidden] as the forward pass left it, grad_y [rows, outputs]; out
/// grad_hidden: g [rows, hidden]; out grad_x [rows, inputs], null: not wanted. With these, ∂Wv = ∂yᵀ h and ∂Wk = gᵀ x.
template <class Operand>
void feed_forward_backward(const FeedForward<Operand>& layer, const Operand* h, const Operand* grad_y,
                           Operand* grad_hidden, typename FeedForward<Operand>::Real* grad_x);

}  // namespace rwkvlab::kernels
