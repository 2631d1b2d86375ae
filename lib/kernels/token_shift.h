// Token shift of RWKV: each token sees a blend of itself and its predecessor (arXiv:2305.13048), or of itself and the
// tokens that a TokenShift names (arXiv:2403.02308). Where a function is given a `shift`, that stands in place of "the
// token before", and `previous` is null.
#pragma once

#include <span>

#include "kernels/sizes.h"
#include "kernels/token_grid.h"

namespace rwkvlab::kernels {

/// At most this many blends in one token_mix call.
inline constexpr int max_token_mixes = 6;

/// shifted_t = x_(t-1); shifted_0 = previous, or 0 when `previous` is null. x, shifted: [batch, time, channels];
/// previous: [batch, channels].
template <class Real>
void token_shift_forward(const SequenceSize& size, const Real* x, const Real* previous, Real* shifted,
                         const TokenShift* shift = nullptr);

/// grad_x_t = grad_shifted_(t+1), 0 at the last token (or where the shift has no reader); grad_previous (or null) =
/// grad_shifted_0.
template <class Real>
void token_shift_backward(const SequenceSize& size, const Real* grad_shifted, Real* grad_x, Real* grad_previous,
                          const TokenShift* shift = nullptr);

/// out_j = x * mix_j + shifted(x) * (1 - mix_j) for all j at once: x is read once, each output written once. The mix
/// weighs the current token and is not clamped. mixes.size() == outputs.size() <= max_token_mixes; mix_j: [channels];
/// previous: [batch, channels] or null for 0.
template <class Real>
void token_mix_forward(const SequenceSize& size, const Real* x, const Real* previous,
                       std::span<const Real* const> mixes, std::span<Real* const> outputs,
                       const TokenShift* shift = nullptr);

/// Gradients of token_mix_forward:
///   grad_x_t = sum_j grad_j,t mix_j + grad_j,(t+1) (1 - mix_j);  grad_previous = sum_j grad_j,0 (1 - mix_j)
///   grad_mix_j = sum over batch and time of grad_j (x - shifted(x))
/// A null entry in `grad_outputs` is a zero gradient. grad_x and grad_previous may be null.
template <class Real>
void token_mix_backward(const SequenceSize& size, const Real* x, const Real* previous,
                        std::span<const Real* const> mixes, std::span<const Real* const> grad_outputs, Real* grad_x,
                        Real* grad_previous, std::span<Real* const> grad_mixes, const TokenShift* shift = nullptr);

}  // namespace rwkvlab::kernels
