// The pickle inside a .pth file, read as data: a dictionary of tensors. Used by pth.cpp.
//
// A pickle is a program for a stack machine that may call any function by name. Nothing is ever called here: the names
// that torch.save writes for tensors, storages and ordered dictionaries are known, every other one is refused, as is
// every instruction that plain data do not need (format: Python's pickletools; persistent ids: torch/serialization.py).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor_writing.h"

namespace rwkvlab::detail {

/// A tensor of the pickle: a view of a storage, which is another record of the archive.
struct PickledTensor {
  std::string name;  ///< keys of the dictionaries around it, joined by dots
  std::string_view stored_type;
  std::string_view storage;           ///< key of the record
  std::int64_t storage_elements = 0;  ///< of the whole storage
  std::int64_t offset = 0;            ///< first element
  std::vector<std::int64_t> sizes, strides;
};

struct PickledDictionary {
  std::vector<PickledTensor> tensors;
  std::map<std::string, std::string> texts;  ///< texts, numbers and truth values
};

/// Reads the pickle. Throws DataError naming the byte and the instruction or name that is refused; memory is bounded by
/// a multiple of the pickle's size. The result refers to `bytes`; `file` is the name for messages.
PickledDictionary parse_pickle(std::string_view bytes, const std::string& file);

/// A pickle of a dictionary of contiguous tensors, each the whole of the storage that its place in the list numbers;
/// torch.load reads it.
std::string write_pickle(const std::vector<NamedTensor>& tensors, std::optional<FloatFormat> format);

}  // namespace rwkvlab::detail
