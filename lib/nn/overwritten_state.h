// States that are carried on and never looked at again, as in generation: what comes after lies where it was before.
#pragma once

#include <string>

#include "nn/module.h"

namespace rwkvlab {

/// While one lives, passes of this thread may write a piece of their outgoing state over the same piece of the incoming
/// one, if nobody else holds that. Whoever makes one gives the incoming state up.
class OverwriteState {
 public:
  OverwriteState();
  ~OverwriteState();
  OverwriteState(const OverwriteState&) = delete;
  OverwriteState& operator=(const OverwriteState&) = delete;
  static bool active();

 private:
  bool previous_;
};

/// Where the next value of a piece may be written: the memory of the incoming value, or where that is not allowed, new
/// memory of its shape. `name` is the piece's full name, and context.state_in has it.
Tensor next_state(const ForwardContext& context, const std::string& name);

}  // namespace rwkvlab
