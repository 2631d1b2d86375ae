// y = f(x Wkᵀ) Wvᵀ: the two layers of a channel mix as one operation.
#pragma once

#include "autograd/ops/elementwise.h"

namespace rwkvlab {

/// y = f(x Wkᵀ) Wvᵀ, the hidden layer activated while it is in the cache and kept once, in bfloat16 where the products
/// are (Bfloat16Products). x: [..., inputs]; key Wk: [hidden, inputs]; value Wv: [outputs, hidden]; result [...,
/// outputs]. `kind`: an activation whose slope follows from its value (kernels::slope_follows_from_value).
Var feed_forward(Activation kind, const Var& x, const Var& key, const Var& value);

}  // namespace rwkvlab
