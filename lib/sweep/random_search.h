// Drawn values of a random search.
#pragma once

#include <vector>

#include "run/sweep_params.h"

namespace rwkvlab {

/// Draw number `index` of a path: a function of (seed, path, index). Numbers have four significant digits.
Node draw_value(const RandomRange& range, std::uint64_t seed, const std::string& path, std::uint64_t index);

/// `params.count` draws of all `paths`, no two equal. Fewer when the choices do not give as many.
std::vector<std::vector<Node>> draw_all(const RandomParams& params, const std::vector<std::string>& paths);

}  // namespace rwkvlab
