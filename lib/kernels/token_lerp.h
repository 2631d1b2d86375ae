// Token shift with weights that may depend on the token ("ddlerp" of RWKV-6, arXiv:2404.05892, section 4).
#pragma once

#include "kernels/sizes.h"
#include "kernels/token_grid.h"

namespace rwkvlab::kernels {

/// out_j,t = x_t + (x_(t-1) - x_t) (weight_j + correction_j,t) for every j; x_(-1) = previous, or 0 when that is null.
/// The weight is that of the previous token, and not clamped.
template <class Real>
struct TokenLerp {
  SequenceSize size;
  Index outputs = 0;
  const Real* x = nullptr;               ///< [batch, time, channels]
  const Real* previous = nullptr;        ///< [batch, channels]; or null for 0
  const Real* const* weights = nullptr;  ///< `outputs` arrays [channels]
  const Real* correction = nullptr;      ///< [outputs, batch, time, channels]
  const TokenShift* shift = nullptr;     ///< which token stands for x_(t-1); or null for the sequence's order. Then
                                         ///< `previous` is null
};
template <class Real>
void token_lerp_forward(const TokenLerp<Real>& call, Real* const* outputs);

/// With e_j = weight_j + correction_j,t:
///   grad_x_t = sum_j grad_j,t (1 - e_j,t) + grad_j,(t+1) e_j,(t+1);   grad_previous = sum_j grad_j,0 e_j,0
///   grad_correction_j,t = grad_j,t (x_(t-1) - x_t);                   grad_weight_j = its sum over batch and time
template <class Real>
struct TokenLerpBackward {
  TokenLerp<Real> in;
  const Real* const* grad_outputs = nullptr;  ///< a null entry is a zero gradient
  Real* grad_x = nullptr;                     ///< out; or null
  Real* grad_previous = nullptr;              ///< out; or null
  Real* const* grad_weights = nullptr;        ///< out, `outputs` arrays [channels]
  Real* grad_correction = nullptr;            ///< out
};
template <class Real>
void token_lerp_backward(const TokenLerpBackward<Real>& call);

}  // namespace rwkvlab::kernels
