// The projections that see token-shifted input, together: token_mix and a linear layer for each of its blends.
#pragma once

#include "autograd/ops/token_shift.h"

namespace rwkvlab {

/// y_j = linear(token_mix(x, previous, mixes, weighs, shift)_j, weights_j) for every j, without the blends in memory.
/// The same values up to rounding. weights_j: [outputs_j, channels], as many as mixes. Heeds Bfloat16Products.
std::vector<Var> mixed_linear(const Var& x, const Var& previous, const std::vector<Var>& mixes,
                              const std::vector<Var>& weights, MixedToken weighs = MixedToken::current,
                              const TokenShift* shift = nullptr);

}  // namespace rwkvlab
