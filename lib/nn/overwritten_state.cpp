#include "nn/overwritten_state.h"

#include "base/error.h"

namespace rwkvlab {
namespace {

thread_local bool overwrites = false;

}  // namespace

OverwriteState::OverwriteState() : previous_(overwrites) { overwrites = true; }
OverwriteState::~OverwriteState() { overwrites = previous_; }
bool OverwriteState::active() { return overwrites; }

Tensor next_state(const ForwardContext& context, const std::string& name) {
  const Var* const incoming = context.state_in->find(name);
  check_invariant(incoming != nullptr, "a step goes on from every piece of state");
  const Tensor& value = incoming->value();
  return overwrites && value.unique() ? value : Tensor::empty(value.shape(), value.dtype());
}

}  // namespace rwkvlab
