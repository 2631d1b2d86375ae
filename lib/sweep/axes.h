// The `sweep` section as axes with their values.
#pragma once

#include <string>
#include <vector>

#include "config/diagnostics.h"
#include "config/node.h"
#include "run/sweep_params.h"
#include "sweep/sweep_record.h"

namespace rwkvlab {

/// A value on its way to a path of the base experiment. Maps are taken apart, so that `value` is a scalar or a list.
struct PathSetting {
  std::string path;
  Place place;  ///< where the path, or its last key, is written
  Node value;
};

/// One way to choose the axes of a step.
struct Alternative {
  std::vector<AxisValue> axes;
  std::vector<PathSetting> settings;
  std::string label;  ///< part of the variant's label: "Finch", "width=64"
  Place place;
};

/// Axes that are chosen together: one of a grid, all of a zip, the list, all of a random search.
struct SweepStep {
  std::vector<std::string> axes;
  std::vector<Alternative> alternatives;
};

/// Name of the axis of `sweep.list`.
inline constexpr const char* list_axis = "variant";

/// The steps of a sweep in the order grid, zip, list, random; their product is the sweep. `tree` is the resolved
/// section and `params` what it was bound to. Adds to `problems` what is empty, of unequal length, set twice or not to
/// be set, and more runs than the limit; each variant has `seeds` of them.
std::vector<SweepStep> read_steps(const Node& tree, const SweepParams& params, std::size_t seeds,
                                  Diagnostics& problems);

/// Number of combinations; the largest integer when there are more.
std::uint64_t combinations(const std::vector<std::uint64_t>& sizes);

/// A value as labels show it: text as it is, numbers shortest, a block by its kind.
std::string value_label(const Node& value);

/// `value` at `path`, taken apart into scalars and lists.
void take_apart(const std::string& path, const Place& place, const Node& value, std::vector<PathSetting>& into);

}  // namespace rwkvlab
