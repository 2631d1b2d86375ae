// The WKV operator with a matrix-valued state of RWKV-5 and RWKV-6 ("Eagle and Finch", arXiv:2404.05892). Per head of
// size N, with state S [N keys, N values], decay w = exp(-exp(decay)) per key channel, and bonus u:
//   y_t[j]    = sum_i r_t[i] (S[i][j] + u[i] k_t[i] v_t[j])
//   S[i][j]   = w_t[i] S[i][j] + k_t[i] v_t[j]
// The decay is a number per token (RWKV-6) or the same for all tokens (RWKV-5).
//
// Gradients, with g = dL/dy and D = dL/dS, from the last token to the first:
//   dr_t[i] = sum_j (S_(t-1)[i][j] + u[i] k_t[i] v_t[j]) g_t[j]        du[i] = sum_t r_t[i] k_t[i] (g_t . v_t)
//   dk_t[i] = sum_j (D[i][j] + u[i] r_t[i] g_t[j]) v_t[j]
//   dv_t[j] = sum_i D[i][j] k_t[i] + (sum_i r_t[i] u[i] k_t[i]) g_t[j]
//   ddecay_t[i] = -exp(decay) w_t[i] sum_j D[i][j] S_(t-1)[i][j]
//   D[i][j] = w_t[i] D[i][j] + r_t[i] g_t[j]
// No sum is taken back by a subtraction and no state is run backwards, so strong decays lose nothing.
#pragma once

#include "kernels/matrix_state_backward.h"

namespace rwkvlab::kernels {

/// Arrays [batch, time, heads, head_size]; a state is [batch, heads, head_size (keys), head_size (values)].
struct Wkv6Size {
  Index batch = 0, time = 0, heads = 0, head_size = 0;
  Index channels() const { return heads * head_size; }
  Index elements() const { return batch * time * channels(); }
  Index state_elements() const { return batch * heads * head_size * head_size; }
  Index chunks() const { return kept_states(time); }
};

/// What both passes read.
template <class Real>
struct Wkv6Inputs {
  Wkv6Size size;
  const Real* receptance = nullptr;  ///< [batch, time, heads, head_size]
  const Real* key = nullptr;         ///< the same
  const Real* value = nullptr;       ///< the same
  const Real* decay = nullptr;  ///< raw: w = exp(-exp(decay)); the same shape, or [heads, head_size] for all tokens
  bool fixed_decay = false;     ///< whether `decay` is one for all tokens
  const Real* bonus = nullptr;  ///< [heads, head_size]
  const Real* state = nullptr;  ///< before the first token; or null for zeros
  bool is_reversed = false;     ///< from the last token to the first, which `first`, `final` and `before` then mean
};

template <class Real>
struct Wkv6Forward {
  Wkv6Inputs<Real> in;
  Real* y = nullptr;            ///< out [batch, time, heads, head_size]
  Real* final_state = nullptr;  ///< out; or null
  Real* kept_states = nullptr;  ///< out [batch, heads, chunks, head_size, head_size], the state before every stretch
                                ///< of kept_state_tokens; or null
};

/// Threads over batch x heads x tiles of value channels, whose states do not meet; vectorised over value channels.
template <class Real>
void wkv6_forward(const Wkv6Forward<Real>& call);

template <class Real>
struct Wkv6Backward {
  Wkv6Inputs<Real> in;
  const Real* kept_states = nullptr;       ///< as the forward pass left them
  const Real* grad_y = nullptr;            ///< [batch, time, heads, head_size]
  const Real* grad_final_state = nullptr;  ///< or null for zeros
  Real* grad_receptance = nullptr;         ///< out [batch, time, heads, head_size]
  Real* grad_key = nullptr;                ///< out, the same shape
  Real* grad_value = nullptr;              ///< out, the same shape
  Real* grad_decay = nullptr;              ///< out, the shape of the decay; summed over batch and time when it is fixed
  Real* grad_bonus = nullptr;              ///< out [heads, head_size], summed over batch and time
  Real* grad_state = nullptr;              ///< out, the shape of a state; or null
};

/// As matrix_state_backward.h does it; a gradient may lie where the input lay.
template <class Real>
void wkv6_backward(const Wkv6Backward<Real>& call);

}  // namespace rwkvlab::kernels
