// The weighted means of the attention-free transformer (arXiv:2105.14103).
#pragma once

#include "autograd/ops/wkv4.h"

namespace rwkvlab {

/// AFT-full: y_t = Σ_i e^{k_i + w_{P+t,i}} v_i / Σ_i e^{k_i + w_{P+t,i}} per channel over i <= P + t, where P is how
/// many more keys than queries there are. key, value: [batch, keys, channels]; bias: [length, length], length >= keys;
/// result [batch, queries, channels].
Var aft(const Var& bias, const Var& key, const Var& value, std::int64_t queries);

/// AFT-simple, no bias: y_t = Σ_{i<=t} e^{k_i} v_i / Σ_{i<=t} e^{k_i}. It is the operator of RWKV-4 with the decay and
/// the bonus 0, and is computed by it; shapes and state as in wkv4.h.
Wkv4Result aft_simple(const Var& key, const Var& value, const Var& state, bool wants_final_state);

}  // namespace rwkvlab
