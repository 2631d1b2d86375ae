// What the writers of safetensors and .pth files share: tensors with names, and the formats that floats are stored in.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tensor/tensor.h"

namespace rwkvlab {

/// One tensor to write.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// How floats are stored in a file.
enum class FloatFormat { float32, float16, bfloat16 };

/// "float32", "float16" or "bfloat16".
std::string_view name(FloatFormat format);
/// The format of that name; nothing for other names.
std::optional<FloatFormat> float_format(std::string_view name);

namespace detail {

/// The type under which a tensor is stored: floats in `format`, or as they are; integers as I64.
std::string_view stored_type(const Tensor& tensor, std::optional<FloatFormat> format);
/// Bytes of all its elements then.
std::size_t stored_bytes(const Tensor& tensor, std::optional<FloatFormat> format);
/// Hands the stored bytes to `take`, piece by piece; memory is bounded. Throws DataError naming the tensor for a number
/// beyond float16; BugError for a tensor without memory.
void for_stored_bytes(const NamedTensor& tensor, std::optional<FloatFormat> format,
                      const std::function<void(std::span<const std::byte>)>& take);

}  // namespace detail
}  // namespace rwkvlab
