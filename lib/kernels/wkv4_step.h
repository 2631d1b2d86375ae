// One token of RWKV-4's recurrence, as in generation.
#pragma once

#include "kernels/wkv4.h"

namespace rwkvlab::kernels {

/// What wkv4_forward() computes from a given state to a wanted one, of one token. The decay's exponential is computed
/// anew for every token, so that it is vector_exp()'s here.
void wkv4_step(const Wkv4Forward<float>& call);

}  // namespace rwkvlab::kernels
