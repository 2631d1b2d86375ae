// One token of RWKV-7's recurrence, as in generation.
#pragma once

#include "kernels/wkv7.h"

namespace rwkvlab::kernels {

/// Whether wkv7_step() computes a call: one token from a given state to a wanted one, with nothing kept for a way back.
template <class Real>
bool is_wkv7_step(const Wkv7Forward<Real>& call) {
  return call.size.time == 1 && call.state != nullptr && call.final_state != nullptr && call.kept_states == nullptr &&
         call.read == nullptr;
}

/// What wkv7_forward() computes. The state's rows are read once and written once, as they lie in memory; a longer text
/// is worth turning them around. Sums over keys are of another order, so that the last bits may differ.
template <class Real>
void wkv7_step(const Wkv7Forward<Real>& call);

}  // namespace rwkvlab::kernels
