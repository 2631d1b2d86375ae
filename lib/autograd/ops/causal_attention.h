// Softmax attention over the past with several heads (arXiv:1706.03762), and the cache it attends to.
#pragma once

#include <vector>

#include "autograd/var.h"

namespace rwkvlab {

/// Per head y_t = Σ_i p_ti v_i, p_t = softmax_i(q_t·k_i / sqrt(head_size) - slope (P + t - i)) over the keys i <= P +
/// t, where P is how many more keys than queries there are: tokens of an earlier chunk. query: [batch, queries,
/// channels]; key, value: [batch, keys, channels]; `heads` must divide the channels. `slopes`: one per head, or none
/// for no bias (arXiv:2108.12409). The weights [batch, heads, queries, keys] are never stored.
Var causal_attention(const Var& query, const Var& key, const Var& value, std::int64_t heads,
                     const std::vector<double>& slopes = {});
/// The same over all keys, whatever their time.
Var full_attention(const Var& query, const Var& key, const Var& value, std::int64_t heads);

/// The tokens of `past` [batch, before, channels] (or none) and then those of x [batch, time, channels]: a cache that
/// grows.
Var append_tokens(const Var& past, const Var& x);

}  // namespace rwkvlab
