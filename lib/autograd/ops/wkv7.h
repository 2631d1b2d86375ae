// The generalised delta rule of RWKV-7 (arXiv:2503.14456).
#pragma once

#include "autograd/var.h"

namespace rwkvlab {

struct Wkv7Inputs {
  Var receptance;  ///< r [batch, time, key channels]
  Var log_decay;   ///< [batch, time, key channels]; at most 0 for a state that stays bounded; none for no decay
  Var key;         ///< k [batch, time, key channels]
  Var value;       ///< v [batch, time, value channels]
  Var a;           ///< where the state is read, [batch, time, key channels]; none, with b, for no delta rule
  Var b;           ///< where that is written back; or none
};

struct Wkv7Result {
  Var y;            ///< [batch, time, value channels]
  Var final_state;  ///< [batch, heads, value_size, key_size]; none unless asked for
};

/// S_t = S_{t-1} (diag(e^{log_decay_t}) + a_t b_tᵀ) + v_t k_tᵀ and y_t = S_t r_t, per head; kernels/wkv7.h has the
/// details. state: [batch, heads, value_size, key_size] with the channels of a head, or none for zeros. `heads` must
/// divide both numbers of channels.
Wkv7Result wkv7(const Wkv7Inputs& inputs, const Var& state, std::int64_t heads, bool wants_final_state);

}  // namespace rwkvlab
