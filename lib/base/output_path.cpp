#include "base/output_path.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace rwkvlab {

namespace fs = std::filesystem;

void check_output_path(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const auto refuse = [&](const std::string& why) {
    throw FileError(fmt::format("cannot write '{}': {}", path.string(), why));
  };
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) refuse(fmt::format("there is no folder '{}'", folder.string()));
  if (fs::is_directory(path, ignored)) refuse("a folder has that name");
  if (access(folder.c_str(), W_OK) != 0) refuse(fmt::format("in its folder: {}", std::strerror(errno)));
}

}  // namespace rwkvlab
