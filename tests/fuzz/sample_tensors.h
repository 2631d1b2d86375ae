// Small files of tensors as bytes.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "tensor/tensor_writing.h"

namespace rwkvlab::fuzz {

inline std::vector<NamedTensor> sample_tensors() {
  return {{"blocks.0.att.time_decay", Tensor::full({4, 3}, 0.5)},
          {"blocks.0.att.key.weight", Tensor::full({3, 3}, -1, DType::f64)},
          {"step", Tensor::full({2}, 9, DType::i64)},
          {"head", Tensor::full({5}, 2)}};
}

/// What `write` writes to the path that it is given.
inline std::string written_by(const std::function<void(const std::filesystem::path&)>& write) {
  const auto path = std::filesystem::temp_directory_path() / ("rwkvlab-fuzz-" + std::to_string(::getpid()));
  write(path);
  std::string bytes = read_text(path);
  std::filesystem::remove(path);
  return bytes;
}

}  // namespace rwkvlab::fuzz
