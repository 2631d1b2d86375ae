#include "run/recorded_run.h"

#include <fmt/format.h>

#include "base/error.h"
#include "run/run_folder.h"
#include "tensor/tensor_file.h"

namespace rwkvlab {

namespace fs = std::filesystem;

fs::path recorded_run(const fs::path& source) {
  fs::path at = fs::absolute(source).lexically_normal();
  if (at.filename().empty() || at.filename() == "model.safetensors") at = at.parent_path();
  if (at.filename() != "checkpoints") at = at.parent_path();
  if (at.filename() == "checkpoints" && is_run_folder(at.parent_path())) {
    const fs::path run = at.parent_path();
    return source.is_absolute() ? run : run.lexically_proximate(fs::current_path());
  }
  std::error_code ignored;
  if (fs::is_regular_file(source, ignored) && !tensor_file_format(source).empty()) {
    throw DataError(
        fmt::format("'{}' holds weights and no record of their training; expected a run folder or a run file, such as "
                    "`rwkvlab eval … -o FILE.h5` writes for weights",
                    source.string()));
  }
  return source;
}

}  // namespace rwkvlab
