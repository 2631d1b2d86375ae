// Which layers of a model compute their values again in the backward pass.
#pragma once

#include <string>
#include <vector>

namespace rwkvlab {

/// Base of the parameters of models made of layers.
struct RecomputeParams {
  std::string recompute = "none";
  std::vector<int> recompute_layers;  ///< empty: all but the last

  /// Whether a training computes the values of this one of `layers` layers again instead of keeping them.
  bool recomputes(int layer, int layers) const;
};

/// What is wrong with them for so many layers: empty when nothing is.
std::string check_recompute(const RecomputeParams& params, int layers);

}  // namespace rwkvlab
