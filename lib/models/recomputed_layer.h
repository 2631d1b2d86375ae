// A layer whose values are computed again in the backward pass.
#pragma once

#include "models/residual_layer.h"

namespace rwkvlab {

/// layer.forward(x, embedded, context), recorded as one operation that keeps what enters the layer alone
/// (autograd/ops/recomputed.h): x, embedded, the incoming state and the values shared between layers. Probes and
/// listener hear of the first pass only; dropout is the same in both. The layer must outlive the tape.
Var recomputed_layer(const ResidualLayer& layer, const Var& x, const Var& embedded, const ForwardContext& context);

}  // namespace rwkvlab
