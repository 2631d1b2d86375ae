#include "models/recompute_params.h"

#include <fmt/format.h>

#include <algorithm>

namespace rwkvlab {

bool RecomputeParams::recomputes(int layer, int layers) const {
  if (recompute == "none") return false;
  if (recompute_layers.empty()) return layer + 1 < layers;
  return std::find(recompute_layers.begin(), recompute_layers.end(), layer) != recompute_layers.end();
}

std::string check_recompute(const RecomputeParams& params, int layers) {
  if (!params.recompute_layers.empty() && params.recompute == "none") {
    return "recompute_layers names layers, but recompute is none: set recompute to blocks, or leave the layers out";
  }
  for (const int layer : params.recompute_layers) {
    if (layer >= layers)
      return fmt::format("recompute_layers names layer {}, but the model has layers 0 to {}", layer, layers - 1);
  }
  return "";
}

}  // namespace rwkvlab
