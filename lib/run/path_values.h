// File names in an experiment file.
#pragma once

#include <functional>
#include <string>

#include "config/diagnostics.h"
#include "config/node.h"
#include "config/schema.h"

namespace rwkvlab {

/// Makes every relative path that `schema` declares in `tree` absolute: it starts at the folder of the file that it is
/// written in, or at the current folder when it comes from the command line. What does not exist and should is added to
/// `missing`. Values of the wrong type are left for the validation to refuse.
void make_paths_absolute(Node& tree, const Schema& schema, Diagnostics& missing);

/// Told the key, "data.files", and one of its values.
using PathUse = std::function<void(const std::string& key, const Node& value, const Field& field)>;
/// Calls `use` for every value in `tree` that `schema` declares a path, in their order.
void for_each_path(const Node& tree, const Schema& schema, const PathUse& use);

}  // namespace rwkvlab
