// Data-dependent token shift ("ddlerp" of RWKV-6, arXiv:2404.05892): blends whose weights differ from token to token.
#pragma once

#include <vector>

#include "autograd/var.h"
#include "kernels/token_grid.h"

namespace rwkvlab {

/// out_j,t = x_t + (x_{t-1} - x_t) ⊙ (weight_j + correction_j,t) for every weight, x_{-1} = `previous` (or 0 when that
/// is none). x: [batch, time, channels]; previous: [batch, channels]; a weight has `channels` elements and weighs the
/// previous token; correction: [weights, batch · time, channels]. With a `shift`, that says which token stands in for
/// x_{t-1}, and there is no `previous`.
std::vector<Var> token_lerp(const Var& x, const Var& previous, const std::vector<Var>& weights, const Var& correction,
                            const TokenShift* shift = nullptr);

/// Splits the last dimension into `groups` equal parts, one matrix each: [batch, time, groups · n] to [groups, batch ·
/// time, n].
Var channel_groups(const Var& x, std::int64_t groups);

/// Every element `count` times in a row: numbers per head as numbers per channel. Result [elements · count].
Var repeat_elements(const Var& x, std::int64_t count);

}  // namespace rwkvlab
