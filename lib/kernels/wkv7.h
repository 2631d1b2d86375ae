// The generalised delta rule of RWKV-7 ("RWKV-7 'Goose' with Expressive Dynamic State Evolution", arXiv:2503.14456).
// Per head, a state S [values, keys]; every token decays it per key channel, reads it at `a`, writes what was read back
// at `b`, and adds value ⊗ key:
//   sa_t[i]   = Σ_j S_{t-1}[i][j] a_t[j]
//   S_t[i][j] = S_{t-1}[i][j] e^{log_decay_t[j]} + sa_t[i] b_t[j] + v_t[i] k_t[j]
//   y_t[i]    = Σ_j S_t[i][j] r_t[j]
// With a = -κ, b = κ ⊙ rate and unit κ it replaces the value stored under κ: RWKV-7, and DeltaNet (arXiv:2406.06484)
// without decay. Without a and b it is gated linear attention (arXiv:2312.06635) that reads the new state, of which
// fixed decays (retention, arXiv:2307.08621), one decay per head (the state space duality of Mamba-2, arXiv:2405.21060)
// and no decay (linear attention, arXiv:2006.16236) are special cases. Gradients, with g = dL/dy_t and D = dL/dS, from
// the last token to the first:
//   dr = S_tᵀ g;  D += g rᵀ;  dlog_decay[j] = e^{log_decay[j]} Σ_i D[i][j] S_{t-1}[i][j];  dk = Dᵀ v;  dv = D k
//   db = Dᵀ sa;  dsa = D b;  da = S_{t-1}ᵀ dsa;  D = D diag(e^{log_decay}) + dsa aᵀ
// The states between two kept ones are computed again, forwards: no state is ever divided by its decay, so any decay
// and any length are safe.
#pragma once

#include "kernels/matrix_state_backward.h"

namespace rwkvlab::kernels {

struct Wkv7Size {
  Index batch = 0;
  Index time = 0;
  Index heads = 0;
  Index key_size = 0;    ///< key channels of a head
  Index value_size = 0;  ///< value channels of a head
  Index key_channels() const { return heads * key_size; }
  Index value_channels() const { return heads * value_size; }
  Index states() const { return batch * heads; }
  Index state_elements() const { return states() * value_size * key_size; }
  /// States kept per head.
  Index chunks() const { return kept_states(time); }
};

/// A sequence is [batch, time, heads, key_size], or value_size for value, y and what is read; a state is [batch, heads,
/// value_size, key_size].
template <class Real>
struct Wkv7Forward {
  Wkv7Size size;
  const Real* receptance;  ///< r
  const Real* log_decay;   ///< at most 0 for a state that stays bounded; or null for no decay
  const Real* key;         ///< k
  const Real* value;       ///< v
  const Real* a;           ///< or null, with b, for no delta rule
  const Real* b;           ///< or null
  const Real* state;       ///< before the first token; or null for zeros
  Real* y;                 ///< out
  Real* final_state;       ///< out; or null. May be the same array as `state`.
  Real* read;              ///< out: sa of every token, for the backward pass; or null
  Real* kept_states;       ///< out [batch, heads, chunks, value_size, key_size]: the state before every stretch of
                           ///< kept_state_tokens; or null
};
/// Work is split over batch, heads and tiles of value channels, which do not depend on one another.
template <class Real>
void wkv7_forward(const Wkv7Forward<Real>& call);

template <class Real>
struct Wkv7Backward {
  Wkv7Size size;
  const Real* receptance;
  const Real* log_decay;  ///< or null
  const Real* key;
  const Real* value;
  const Real* a;                 ///< or null, with b, read, grad_a and grad_b
  const Real* b;                 ///< or null
  const Real* read;              ///< of the forward pass; or null
  const Real* kept_states;       ///< of the forward pass
  const Real* grad_y;            ///< [batch, time, heads, value_size]
  const Real* grad_final_state;  ///< or null for zeros
  Real* grad_receptance;         ///< out
  Real* grad_log_decay;          ///< out; or null
  Real* grad_key;                ///< out
  Real* grad_value;              ///< out
  Real* grad_a;                  ///< out; or null
  Real* grad_b;                  ///< out; or null
  Real* grad_state;              ///< out; or null
};
/// As matrix_state_backward.h does it; a gradient may lie where the input lay.
template <class Real>
void wkv7_backward(const Wkv7Backward<Real>& call);

}  // namespace rwkvlab::kernels
