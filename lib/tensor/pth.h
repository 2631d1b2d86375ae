// The .pth files of torch.save: a zip archive with a pickle that describes tensors and one record per storage.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "tensor/tensor_file.h"
#include "tensor/tensor_writing.h"

namespace rwkvlab {

/// A .pth file opened for reading. It is taken as data: a dictionary of tensors, also within others; no code in it is
/// ever run. Tensors may share a storage and may have strides. Throws DataError for what torch.save does not write, for
/// the format before PyTorch 1.6, and for tensors that leave their storage.
class PthFile final : public TensorFile {
 public:
  explicit PthFile(const std::filesystem::path& path);
};

/// Writes a dictionary of tensors that torch.load reads (also with weights_only=True), atomically: floats in `format`,
/// or as they are. The bytes depend on nothing but the arguments. Throws FileError when writing fails; DataError for a
/// value that `format` cannot hold; BugError for a name given twice.
void write_pth(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
               std::optional<FloatFormat> format = {});

namespace detail {

/// How a file begins that PyTorch before 1.6 wrote.
constexpr std::string_view legacy_pth_start("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14);

struct PthContents {
  std::vector<TensorEntry> entries;  ///< sorted by the place of their elements
  std::map<std::string, std::string> texts;
};

/// Parses a whole .pth file. Throws DataError; `file` is the name for messages.
PthContents parse_pth(std::string_view bytes, const std::string& file);

}  // namespace detail
}  // namespace rwkvlab
