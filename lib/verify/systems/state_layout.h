// The states of the baselines' cases as wkv7() has them, and back; differentiable.
#pragma once

#include <utility>

#include "autograd/var.h"

namespace rwkvlab {

/// [batch, heads, keys, values] and, of linear attention, the sums of the keys [batch, heads, keys] (or none) ->
/// [batch, heads, values (+ 1), keys], the sums in the last row.
Var operator_state(const Var& state, const Var& sums = {});
/// The opposite; the sums are none when there are no more rows than `values`.
std::pair<Var, Var> file_state(const Var& state, std::int64_t values);

/// Natural logarithm of positive numbers.
Var log_of(const Var& x);

}  // namespace rwkvlab
