// Safetensors files: an 8-byte length, a JSON header with names, types, shapes and offsets, then the elements,
// row-major and little-endian (format: https://github.com/huggingface/safetensors).
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tensor/tensor_file.h"
#include "tensor/tensor_writing.h"

namespace rwkvlab {

/// A safetensors file opened for reading. The header is checked completely at once; elements are read only for the
/// tensors that are asked for. Every rule that a file breaks is a DataError naming the file, the tensor, what was found
/// and what was expected; memory use is bounded by the size of the header.
class SafetensorsFile final : public TensorFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
};

/// Writes a file atomically (see AtomicFile), without a second copy in memory: floats in `format`, or as they are,
/// integers as I64. Elements are in the order given, but wider ones come first, so that every element lies at a
/// multiple of its size. The bytes depend on nothing but the arguments. Throws FileError when writing fails; DataError
/// for a value that `format` cannot hold; BugError for a name given twice.
void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {}, std::optional<FloatFormat> format = {});

}  // namespace rwkvlab
