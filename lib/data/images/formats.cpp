#include "data/images/formats.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "data/images/codecs.h"

namespace rwkvlab {
namespace {

[[noreturn]] void refuse(const std::string& source, std::string_view what) {
  throw DataError(fmt::format("'{}' is no IDX file: {}", source, what));
}

std::int64_t big_endian(std::string_view bytes, std::size_t place) {
  std::int64_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value * 256 + static_cast<unsigned char>(bytes[place + i]);
  return value;
}

}  // namespace

IdxArray parse_idx(std::string_view bytes, std::size_t dimensions, const std::string& source) {
  IdxArray array;
  array.first = 4 + 4 * dimensions;
  if (bytes.size() < array.first) refuse(source, fmt::format("it has {} bytes, too few for a header", bytes.size()));
  const auto byte = [bytes](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (byte(0) != 0 || byte(1) != 0) {
    refuse(source, fmt::format("it begins with the bytes {} and {}, expected 0 and 0", byte(0), byte(1)));
  }
  if (byte(2) != 8) refuse(source, fmt::format("its elements are of type {}, expected 8 (bytes)", byte(2)));
  if (byte(3) != dimensions) {
    refuse(source, fmt::format("it has {} dimension{}, expected {} ({})", byte(3), byte(3) == 1 ? "" : "s", dimensions,
                               dimensions == 1 ? "labels" : "pictures"));
  }
  std::int64_t row = 1;
  for (std::size_t i = 0; i < dimensions; ++i) {
    array.shape.push_back(big_endian(bytes, 4 + 4 * i));
    if (array.shape.back() == 0) refuse(source, "a dimension is 0");
    if (i == 0) continue;
    if (array.shape.back() > most_pixels / row) refuse(source, "its pictures are too large");
    row *= array.shape.back();
  }
  const auto found = static_cast<std::int64_t>(bytes.size() - array.first);
  if (found / row > array.shape[0] || (found / row == array.shape[0] && found % row != 0)) {
    refuse(source,
           fmt::format("it has {} bytes behind its {} rows of {}", found - array.shape[0] * row, array.shape[0], row));
  }
  array.whole = static_cast<std::size_t>(found / row);
  return array;
}

std::int64_t count_cifar_records(std::string_view bytes, std::int64_t labels, bool may_be_cut,
                                 const std::string& source) {
  const std::int64_t record = labels + cifar_bytes, size = static_cast<std::int64_t>(bytes.size());
  if (size < record || (size % record != 0 && !may_be_cut)) {
    throw DataError(
        fmt::format("'{}' has {} bytes, expected a multiple of {} (CIFAR with {} label{}): record {} is "
                    "cut off",
                    source, size, record, labels, labels == 1 ? "" : "s", size / record));
  }
  return size / record;
}

}  // namespace rwkvlab
