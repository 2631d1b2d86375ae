// Parts of the channels: taken apart, and shared by several heads.
#pragma once

#include <vector>

#include "autograd/var.h"

namespace rwkvlab {

/// Cuts the last dimension into parts of these sizes, which must add up to it.
std::vector<Var> split_channels(const Var& x, const std::vector<std::int64_t>& sizes);

/// Every one of `groups` equal parts of the last dimension `count` times in a row: what the heads of a group share.
/// [..., channels] -> [..., count · channels].
Var repeat_groups(const Var& x, std::int64_t groups, std::int64_t count);

}  // namespace rwkvlab
