// The same values for every sequence of a batch.
#pragma once

#include "autograd/var.h"

namespace rwkvlab {

/// y[b, ...] = x[...]. x: any shape; result [batch, ...].
Var for_every_sequence(const Var& x, std::int64_t batch);

}  // namespace rwkvlab
