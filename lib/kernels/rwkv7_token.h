// Everything between the products of RWKV-7's time mix for one token, as in generation: blocks/rwkv7.cpp has the
// equations. One pass over the heads, which do not depend on one another.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// Per sequence and head, of n channels each, with σ the sigmoid:
///   log w = fastest_log_decay σ(decay_offset + decay)     a = rate_limit σ(rate_offset + rate)
///   v = value + (first_value - value) σ(value_offset + value_weight)          or value itself
///   κ = key ⊙ key_scale / |key ⊙ key_scale|               k = key ⊙ (1 + (a - 1) ⊙ key_boost)
///   S = S diag(w) - (S κ) (κ ⊙ a)ᵀ + v kᵀ                 y = S receptance
///   out = (GroupNorm(y) + (Σ receptance ⊙ k ⊙ bonus) v) ⊙ gate
struct Rwkv7Token {
  Index sequences = 0, heads = 0, head_size = 0;
  double fastest_log_decay = 0, rate_limit = 1, epsilon = 0;
  /// Of the token, [sequences, channels].
  const float *receptance = nullptr, *key = nullptr, *value = nullptr, *decay = nullptr, *rate = nullptr,
              *gate = nullptr;
  const float *value_weight = nullptr, *first_value = nullptr;  ///< the same; or null, both
  /// Parameters, [channels].
  const float *decay_offset = nullptr, *rate_offset = nullptr, *key_scale = nullptr, *key_boost = nullptr,
              *bonus = nullptr, *norm_weight = nullptr, *norm_bias = nullptr;
  const float* value_offset = nullptr;  ///< [channels]; or null, with value_weight
  const float* state = nullptr;         ///< [sequences, heads, head_size, head_size], value channel first
  float* next_state = nullptr;          ///< out; in place of `state` if wished
  float* y = nullptr;                   ///< out [sequences, channels]
};
void rwkv7_token(const Rwkv7Token& call);

}  // namespace rwkvlab::kernels
