// A part of a model whose values are computed again in the backward pass instead of kept (Chen et al., "Training deep
// nets with sublinear memory cost", arXiv:1604.06174).
#pragma once

#include <functional>
#include <vector>

#include "autograd/var.h"

namespace rwkvlab {

/// Outputs from inputs, by operations; undefined inputs and outputs mean "none". It must compute the same values at
/// every call. `again` is true in the backward pass, where nobody is to be told about values once more.
using RecomputedBody = std::function<std::vector<Var>(const std::vector<Var>& inputs, bool again)>;

/// body(inputs, false), recorded as one operation that keeps no more than the inputs. Its backward pass runs
/// body(inputs, true) with a tape of its own, in the number format of the forward pass (Bfloat16Products), and goes
/// back through that; so gradients are the same to the last bit as without this. `parameters`: the leaves that the body
/// uses besides its inputs; their gradients are added to them directly.
std::vector<Var> recomputed(RecomputedBody body, const std::vector<Var>& inputs,
                            const std::vector<Var>& parameters = {});

}  // namespace rwkvlab
