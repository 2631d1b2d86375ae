// Several files and the command line -> one tree.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "config/diagnostics.h"
#include "config/node.h"

namespace rwkvlab {

/// Reads `file`, the files it `extends:` (a name or a list, relative to the file that says so, earlier ones first, each
/// with its own `extends`), and applies `settings` ("model.width=64") in order. Later wins: maps merge, scalars and
/// lists are replaced, and a map whose `kind` changes is replaced as a whole, because another kind has other
/// parameters. The result has no `extends`. ConfigError for a missing file, a cycle, wrong YAML or a setting that does
/// not fit the tree.
Node compose(const std::filesystem::path& file, const std::vector<std::string>& settings = {});

/// The same, but problems that leave the tree whole (a duplicate key) are added to `problems`, so that the caller can
/// look for more; the others are thrown in one ConfigError, together with those.
Node compose(const std::filesystem::path& file, const std::vector<std::string>& settings, Diagnostics& problems);

/// `later` merged over `earlier` by the rules above; places come from whoever wins.
Node merge(Node earlier, Node later);

/// Applies one "path.to.key=value" to the tree; the value is YAML, and a number in the path indexes a list. Missing
/// maps on the way are made. Values get Origin::command_line.
void apply_setting(Node& tree, const std::string& setting);

/// The same for a value that stands in a file: `place` is where the path is written. Problems are added to `problems`,
/// and the tree is then half changed.
void apply_path(Node& tree, const std::string& path, Node value, const Place& place, Diagnostics& problems);

}  // namespace rwkvlab
