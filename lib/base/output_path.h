// Names of files to write, looked at before the work whose result they are for.
#pragma once

#include <filesystem>

namespace rwkvlab {

/// Throws FileError when no file can be made under that name: its folder is missing or may not be written to, or a
/// folder has the name.
void check_output_path(const std::filesystem::path& path);

}  // namespace rwkvlab
