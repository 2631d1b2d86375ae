// Linear attention with a normaliser (arXiv:2006.16236).
#pragma once

#include "autograd/var.h"

namespace rwkvlab {

struct LinearAttentionInputs {
  Var query;  ///< [batch, time, key channels], features that are not negative
  Var key;    ///< the same
  Var value;  ///< [batch, time, value channels]
  Var state;  ///< [batch, heads, value_size + 1, key_size], the last row of a head the sum of its keys; or none
};

struct LinearAttentionResult {
  Var y;            ///< [batch, time, value channels]
  Var final_state;  ///< as the state; none unless asked for
};

/// S_t = S_{t-1} + v_t k_tᵀ, z_t = z_{t-1} + k_t, y_t = S_t q_t / (z_t · q_t + epsilon), per head. The keys are summed
/// as one more value channel, which is always 1, by the kernel of wkv7(). `heads` must divide both numbers of channels.
LinearAttentionResult linear_attention(const LinearAttentionInputs& inputs, std::int64_t heads, double epsilon,
                                       bool wants_final_state);

/// A channel of ones after those of each head: [..., heads · n] -> [..., heads · (n + 1)].
Var append_ones(const Var& x, std::int64_t heads);

/// x_i / (x_n + epsilon) for the channels i < n of each head: [..., heads · (n + 1)] -> [..., heads · n].
Var divide_by_last(const Var& x, std::int64_t heads, double epsilon);

}  // namespace rwkvlab
