#include "tensor/tensor_writing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "tensor/half.h"
#include "tensor/tensor_file.h"

namespace rwkvlab {
namespace {

constexpr std::array<std::string_view, 3> format_names = {"float32", "float16", "bfloat16"};
constexpr std::array<std::string_view, 3> stored_names = {"F32", "F16", "BF16"};
constexpr float largest_half = 65504;

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  const void* data = nullptr;
  switch (tensor.dtype()) {
    case DType::f32:
      data = tensor.data<float>();
      break;
    case DType::f64:
      data = tensor.data<double>();
      break;
    case DType::i64:
      data = tensor.data<std::int64_t>();
      break;
  }
  check_invariant(data != nullptr || tensor.bytes() == 0, "a tensor without memory was to be written");
  return {static_cast<const std::byte*>(data), tensor.bytes()};
}

// Converts `from` piece by piece.
template <class Stored, class From, class Convert>
void in_pieces(std::span<const From> from, Convert&& convert,
               const std::function<void(std::span<const std::byte>)>& take) {
  constexpr std::size_t most = 16384;
  std::vector<Stored> piece(std::min(most, from.size()));
  for (std::size_t begin = 0; begin < from.size(); begin += most) {
    const std::size_t count = std::min(most, from.size() - begin);
    for (std::size_t i = 0; i < count; ++i) piece[i] = convert(static_cast<float>(from[begin + i]));
    take(std::as_bytes(std::span(piece).first(count)));
  }
}

template <class From>
void convert_floats(const NamedTensor& tensor, FloatFormat format, std::span<const From> from,
                    const std::function<void(std::span<const std::byte>)>& take) {
  switch (format) {
    case FloatFormat::float32:
      return in_pieces<float>(
          from, [](float value) { return value; }, take);
    case FloatFormat::bfloat16:
      return in_pieces<std::uint16_t>(from, to_bfloat, take);
    case FloatFormat::float16:
      return in_pieces<std::uint16_t>(
          from,
          [&](float value) {
            if (std::abs(value) > largest_half && std::isfinite(value)) {
              throw DataError(fmt::format(
                  "the tensor {} holds {}, and float16 ends at {}: store the weights as bfloat16 or float32",
                  detail::shown(tensor.name), value, largest_half));
            }
            return to_half(value);
          },
          take);
  }
}

}  // namespace

std::string_view name(FloatFormat format) { return format_names[static_cast<std::size_t>(format)]; }

std::optional<FloatFormat> float_format(std::string_view name) {
  const auto found = std::find(format_names.begin(), format_names.end(), name);
  if (found == format_names.end()) return std::nullopt;
  return static_cast<FloatFormat>(found - format_names.begin());
}

namespace detail {

std::string_view stored_type(const Tensor& tensor, std::optional<FloatFormat> format) {
  if (tensor.dtype() == DType::i64) return "I64";
  if (format) return stored_names[static_cast<std::size_t>(*format)];
  return tensor.dtype() == DType::f64 ? "F64" : "F32";
}

std::size_t stored_bytes(const Tensor& tensor, std::optional<FloatFormat> format) {
  return static_cast<std::size_t>(tensor.elements()) * stored_size(stored_type(tensor, format));
}

void for_stored_bytes(const NamedTensor& tensor, std::optional<FloatFormat> format,
                      const std::function<void(std::span<const std::byte>)>& take) {
  const std::span<const std::byte> bytes = bytes_of(tensor.tensor);
  const DType type = tensor.tensor.dtype();
  if (!format || type == DType::i64 || (type == DType::f32 && *format == FloatFormat::float32)) return take(bytes);
  if (type == DType::f32) {
    convert_floats<float>(tensor, *format, tensor.tensor.span<float>(), take);
  } else {
    convert_floats<double>(tensor, *format, tensor.tensor.span<double>(), take);
  }
}

}  // namespace detail
}  // namespace rwkvlab
