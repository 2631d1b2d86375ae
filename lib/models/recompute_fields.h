// The fields of RecomputeParams in YAML.
#pragma once

#include "config/base_members.h"
#include "config/fields.h"
#include "models/recompute_params.h"

namespace rwkvlab {

/// For parameters that derive from RecomputeParams and have a member `layers`.
template <class P>
void describe_recompute(Fields<P>& f) {
  f.add("recompute", own<P>(&RecomputeParams::recompute),
        "what a training computes again in the backward pass instead of keeping it: less memory, more time, the same "
        "results to the last bit",
        one_of({{"none", "nothing"}, {"blocks", "the values inside layers; what is between them is kept"}}));
  f.add(
      "recompute_layers", own<P>(&RecomputeParams::recompute_layers),
      "layers that `recompute` is about, counted from 0; empty: all but the last, whose backward pass follows at once",
      at_least(0));
  f.check([](const P& params) { return check_recompute(params, params.layers); }, "recompute_layers");
}

}  // namespace rwkvlab
