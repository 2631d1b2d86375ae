// y = x Wᵀ (+ b): the product behind every projection. The only operation that heeds Bfloat16Products.
#pragma once

#include "autograd/var.h"

namespace rwkvlab {

/// y[..., o] = Σ_i x[..., i] W[o, i] (+ b[o]). x: [..., in]; weight: [out, in]; bias: [out] or none.
Var linear(const Var& x, const Var& weight, const Var& bias = {});

/// y[..., o] = Σ_i x[..., i] W[i, o] (+ b[o]), for weights that are stored the other way round, as RWKV's low-rank
/// adapters are. x: [..., in]; weight: [in, out]; bias: `out` elements or none.
Var project(const Var& x, const Var& weight, const Var& bias = {});

}  // namespace rwkvlab
