// The JSON header of a safetensors file, parsed and checked. Used by safetensors.cpp.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor_file.h"

namespace rwkvlab::detail {

struct SafetensorsHeader {
  std::vector<TensorEntry> entries;  ///< sorted by the place of their elements
  std::map<std::string, std::string> metadata;
};

/// Parses the header at the start of `bytes` (the whole file) and checks every rule of the format. Builds nothing but
/// the result, so memory is bounded by the length of the header. Throws DataError; `file` is the name for messages.
SafetensorsHeader parse_safetensors_header(std::string_view bytes, const std::string& file);

}  // namespace rwkvlab::detail
