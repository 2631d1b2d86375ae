// The WKV operator with a matrix-valued state of RWKV-5 and RWKV-6 (arXiv:2404.05892).
#pragma once

#include "autograd/var.h"

namespace rwkvlab {

struct Wkv6Inputs {
  Var receptance, key, value;  ///< [batch, time, channels]
  Var decay;                   ///< raw, [batch, time, channels]; or `channels` elements, one decay for all tokens
  Var bonus;                   ///< `channels` elements
  Var state;                   ///< [batch, heads, head_size, head_size], rows are keys; or none for zeros
  std::int64_t head_size = 64;
  bool is_reversed = false;  ///< from the last token to the first
};

struct Wkv6Result {
  Var y;            ///< [batch, time, channels]
  Var final_state;  ///< [batch, heads, head_size, head_size]; none unless asked for
};

/// Per head of `head_size` neighbouring channels: y_t = (S_{t-1} + diag(u) k_t v_tᵀ)ᵀ r_t,  S_t = diag(w_t) S_{t-1} +
/// k_t v_tᵀ,  w_t = exp(-exp(decay_t)), u = bonus. Gradients flow to every input. kernels/wkv6.h has the sums.
Wkv6Result wkv6(const Wkv6Inputs& inputs, bool wants_final_state);

/// A learned initial state, [heads, values, keys] as checkpoints store it, as the state [batch, heads, keys, values] of
/// `batch` sequences that all start from it. Its gradient is summed over the batch.
Var shared_initial_state(const Var& learned, std::int64_t batch);

}  // namespace rwkvlab
