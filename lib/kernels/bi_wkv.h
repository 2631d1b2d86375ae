// The Bi-WKV operator of Vision-RWKV (arXiv:2403.02308, equation 5): per channel, a softmax-weighted mean of the values
// of all tokens, with log-weights k_i - (|t-i|-1) w for i != t and u + k_t for i = t. w may have any sign: distant
// tokens fade or grow. The causal form takes the tokens i <= t alone.
//
// In linear time: decayed sums of the tokens before t (L) and of those after t (R) are carried from both ends,
//   A <- e^-w A + e^(k_i) v_i,   D <- e^-w D + e^(k_i),   y_t = (A_L + A_R + e^(u+k_t) v_t) / (D_L + D_R + e^(u+k_t))
// and backward, with h_t = grad_y_t / denominator_t, sums of h and of h y in the same manner (G, H):
//   grad_v_i = e^(k_i) (G_L + G_R + e^u h_i),   grad_k_i = v_i grad_v_i - e^(k_i) (H_L + H_R + e^u h_i y_i)
//   grad_u = sum e^(u+k_t) h_t (v_t - y_t),     grad_w = -e^-w sum_t (A_L G_R - D_L H_R + A_R G_L - D_R H_L)_t
//
// Long sequences are cut into chunks of at most 256 tokens. Within a chunk the sums are plain, scaled by one exponent
// per channel; from chunk to chunk they are held as a e^q. Where |w| times the number of tokens or |u| is so large that
// plain sums could overflow or vanish, the channels of a tile are summed with an exponent per token instead. The
// gradient takes denominators and the sums between chunks from the forward pass, so that its first pass over a long
// sequence has to add up h and h y alone.
#pragma once

#include <cstddef>

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// What both passes read.
template <class Real>
struct BiWkvInputs {
  SequenceSize size;
  const Real* decay = nullptr;  ///< [channels], w as it enters the exponents
  const Real* first = nullptr;  ///< [channels], u
  const Real* key = nullptr;    ///< [batch, time, channels]
  const Real* value = nullptr;  ///< [batch, time, channels]
  bool is_causal = false;
};

/// What the forward pass leaves for the gradient, in memory of the caller.
template <class Real>
struct BiWkvTrace {
  Real* inverse = nullptr;      ///< [batch, time, channels]: 1 / denominator, on the scale of a token's chunk
  std::byte* starts = nullptr;  ///< bi_wkv_start_bytes() bytes, 64-byte aligned: the sums that every chunk starts from
};
template <class Real>
std::size_t bi_wkv_start_bytes(const SequenceSize& size);

/// y: out [batch, time, channels]. Threads over batch x tiles of channels x chunks of tokens; vectorised over channels.
/// `trace`: out; none when no gradient follows.
template <class Real>
void bi_wkv_forward(const BiWkvInputs<Real>& in, Real* y, const BiWkvTrace<Real>& trace = {});

template <class Real>
struct BiWkvGradients {
  const Real* y = nullptr;       ///< [batch, time, channels], what the forward pass gave
  const Real* grad_y = nullptr;  ///< [batch, time, channels]
  Real* grad_decay = nullptr;    ///< out [channels], summed over batch and time
  Real* grad_first = nullptr;    ///< out [channels]
  Real* grad_key = nullptr;      ///< out [batch, time, channels]
  Real* grad_value = nullptr;    ///< out [batch, time, channels]
};

/// The hand-written gradient. `trace`: of the forward pass. grad_key may be the memory of trace.inverse, and grad_value
/// that of y.
template <class Real>
void bi_wkv_backward(const BiWkvInputs<Real>& in, const BiWkvTrace<Real>& trace, const BiWkvGradients<Real>& gradients);

/// What the published GPU kernels compute in its place, for weights that were trained with them. They cut the tokens
/// into 32 chunks. The sums that a chunk starts from have log-weights k_i - |t-i| w, those of tokens within the chunk
/// k_i - (|t-i|-1) w; the sums over later tokens lose a token by subtraction; the denominator has 1e-6 added, relative
/// to the largest exponent. Their gradients of w and u are those of this function, the ones of k and v those of the
/// equation with this function's y and denominator. One token after the other, in float64; not causal. Without a trace:
/// `gradients.y` is not read.
template <class Real>
void bi_wkv_official_cuda_forward(const BiWkvInputs<Real>& in, Real* y);
template <class Real>
void bi_wkv_official_cuda_backward(const BiWkvInputs<Real>& in, const BiWkvGradients<Real>& gradients);

}  // namespace rwkvlab::kernels
