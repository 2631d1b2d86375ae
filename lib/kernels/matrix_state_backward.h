// The way back through a recurrence with a matrix-valued state, the common part of wkv6.h and wkv7.h. Per head, with
// decays w_t = e^l_t per key channel, S [values, keys]:
//   S_t = S_(t-1) diag(w_t) + v_t k_tᵀ + u_t b_tᵀ,  u_t = S_(t-1) a_t          (the delta rule's terms may be missing)
//   y_t = S_t r_t,   or with a bonus   y_t = S_(t-1) r_t + (r_t · (bonus ⊙ k_t)) v_t
// Sixteen tokens at a time are differentiated as products of small matrices. Rows are tokens; i_t = l_1 + ... + l_t and
// p_t = i_t - l_t; c is i in the chunk's middle, e at its end; P is the state that enters, D the gradient of the state
// that leaves, G = dL/dY:
//   R' = R ⊙ e^(i-c)  (e^(p-c) with a bonus)      A' = A ⊙ e^(p-c)
//   K' = K ⊙ e^(c-i)      B' = B ⊙ e^(c-i)        P' = P e^c      D' = D e^(e-c)
//   [Mrk Mrb; Mak Mab] = [R'; A'] [K'; B']ᵀ       only earlier tokens kept; for R' its own too without a bonus
//   dU = Mrbᵀ G + B' D'ᵀ      W = (I - Mab)^-T dU      dV = Mrkᵀ G + K' D'ᵀ + Makᵀ W
//   dM = [G; W] [V; U]ᵀ                           kept likewise
//   [dR; dA] = e^(i-c | p-c) ⊙ ([G; W] P' + dM [K'; B'])
//   [dK; dB] = e^(c-i) ⊙ ([V; U] D' + dMᵀ [R'; A'])
//   dP = e^c (D' + Gᵀ R' + Wᵀ A')
//   dl_t = sum_(s<t) (K dK + B dB)_s + sum_(s>=t) (R dR)_s + sum_(s>t) (A dA)_s + sum_values P' ⊙ D'
//          with the parts of dR, dA, dK, dB that come from P' and D',
//        + sum_(s<t<=i) R'_i (dM_is K'_s + dM_is B'_s) + sum_(s<t<i) A'_i (dM_is K'_s + dM_is B'_s)
//          with a bonus s<t<i in both; no part of dl is a difference, so that strong decays lose nothing.
// A chunk whose decays are too strong for such factors (e^20 from its middle) goes token by token, with the gradients
// that wkv6.h and wkv7.h state. Which form a chunk takes depends on its decays alone. The state is never divided by a
// decay: those inside the stretch between two kept states are computed again, forwards.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// Tokens between two states that forward passes keep for the way back.
inline constexpr Index kept_state_tokens = 64;

inline constexpr Index kept_states(Index time) { return (time + kept_state_tokens - 1) / kept_state_tokens; }

/// Arrays of keys: [batch, time, heads, key_size]; of values: with value_size.
template <class Real>
struct MatrixStateBackward {
  Index batch = 0, time = 0, heads = 0, key_size = 0, value_size = 0;
  bool is_reversed = false;  ///< whether the recurrence ran from the last token to the first
  const Real* receptance = nullptr;
  const Real* key = nullptr;
  const Real* value = nullptr;
  const Real* decay = nullptr;             ///< l; or null for none
  bool raw_decay = false;                  ///< l = -e^decay instead
  bool fixed_decay = false;                ///< decay is [heads, key_size], the same for all tokens
  const Real* bonus = nullptr;             ///< [heads, key_size]; or null: y reads the new state
  const Real* a = nullptr;                 ///< or null, with b and read
  const Real* b = nullptr;                 ///< or null
  const Real* read = nullptr;              ///< u of every token, as values; or null
  const Real* kept = nullptr;              ///< [batch, heads, kept_states(time), state]
  bool keys_first = false;                 ///< states are [key_size, value_size] instead of [value_size, key_size]
  const Real* grad_y = nullptr;            ///< as values
  const Real* grad_final_state = nullptr;  ///< [batch, heads, state]; or null for zeros
  Real* grad_receptance = nullptr;         ///< out
  Real* grad_key = nullptr;                ///< out
  Real* grad_value = nullptr;              ///< out
  Real* grad_decay = nullptr;              ///< out, the shape of decay, summed over what shares one; null without decay
  Real* grad_bonus = nullptr;              ///< out [heads, key_size], summed over batch and time; null without bonus
  Real* grad_a = nullptr;                  ///< out; null without a
  Real* grad_b = nullptr;                  ///< out; null without b
  Real* grad_state = nullptr;              ///< out; or null
};

/// Threads over batch x heads, and over tiles of value channels where those are few. A gradient may lie where the input
/// lay: a chunk is read before it is written.
template <class Real>
void matrix_state_backward(const MatrixStateBackward<Real>& call);

}  // namespace rwkvlab::kernels
