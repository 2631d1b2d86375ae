// Pictures that are in memory as a whole: IDX and CIFAR.
#include <fmt/format.h>

#include "base/error.h"
#include "base/gzip.h"
#include "data/images/formats.h"
#include "data/images/picture_source.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

constexpr std::size_t most_bytes = std::size_t{4} << 30;

std::span<const std::uint8_t> as_bytes(std::string_view bytes) {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

// "x.gz" when "x" does not exist: data sets come packed.
fs::path packed_or_not(const fs::path& path) {
  fs::path packed = path;
  packed += ".gz";
  return !fs::exists(path) && fs::exists(packed) ? packed : path;
}

std::string wrong_label(const fs::path& path, std::int64_t index, std::int64_t label, std::int64_t classes) {
  return fmt::format("'{}': the label of picture {} is {}, expected 0 to {}", path.string(), index, label, classes - 1);
}

void require_any(const LoadedPictures& reading, const fs::path& path) {
  if (reading.source->size() > 0) return;
  throw DataError(
      fmt::format("'{}': none of its {} pictures is whole with a right label", path.string(), reading.skipped));
}

}  // namespace

void StoredPictures::append(std::span<const std::uint8_t> values, std::int64_t label) {
  check_invariant(static_cast<std::int64_t>(values.size()) == channels_ * height_ * width_,
                  "a picture of another size than the others");
  values_.insert(values_.end(), values.begin(), values.end());
  labels_.push_back(label);
}

Example StoredPictures::example(std::int64_t index) const {
  check_invariant(index >= 0 && index < size(), "a picture behind the end");
  const auto bytes = static_cast<std::size_t>(channels_ * height_ * width_), place = static_cast<std::size_t>(index);
  return {to_floats(std::span(values_).subspan(place * bytes, bytes), channels_, height_, width_), labels_[place]};
}

LoadedPictures read_idx_pictures(const fs::path& picture_file, const fs::path& label_file, std::int64_t classes,
                                 bool skip_corrupt) {
  const fs::path pictures = packed_or_not(picture_file), labels = packed_or_not(label_file);
  const std::string values = read_unpacked(pictures, most_bytes), numbers = read_unpacked(labels, most_bytes);
  const IdxArray array = parse_idx(values, 3, pictures.string()), names = parse_idx(numbers, 1, labels.string());
  if (array.shape[0] != names.shape[0]) {
    throw DataError(fmt::format("'{}' has {} pictures, but '{}' has {} labels", pictures.string(), array.shape[0],
                                labels.string(), names.shape[0]));
  }
  const auto count = static_cast<std::int64_t>(std::min(array.whole, names.whole));
  if (count < array.shape[0] && !skip_corrupt) {
    const bool is_picture = array.whole < static_cast<std::size_t>(array.shape[0]);
    throw DataError(fmt::format("'{}' is cut off: it has {} of {} {}; fetch it again, or set skip_corrupt: true",
                                is_picture ? pictures.string() : labels.string(), count, array.shape[0],
                                is_picture ? "pictures" : "labels"));
  }
  LoadedPictures reading{nullptr, 1, array.shape[1], array.shape[2], array.shape[0] - count};
  const auto stored = std::make_shared<StoredPictures>(1, reading.height, reading.width);
  reading.source = stored;
  const auto size = static_cast<std::size_t>(reading.height * reading.width);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto place = static_cast<std::size_t>(i);
    const std::int64_t label = static_cast<unsigned char>(numbers[names.first + place]);
    if (classes == 0 || label < classes) {
      stored->append(as_bytes(values).subspan(array.first + place * size, size), label);
    } else if (skip_corrupt) {
      ++reading.skipped;
    } else {
      throw DataError(wrong_label(labels, i, label, classes));
    }
  }
  require_any(reading, pictures);
  return reading;
}

LoadedPictures read_cifar(const std::vector<fs::path>& files, std::int64_t label_bytes, std::int64_t label_byte,
                          std::int64_t classes, bool skip_corrupt) {
  LoadedPictures reading{nullptr, 3, cifar_side, cifar_side, 0};
  const auto stored = std::make_shared<StoredPictures>(3, cifar_side, cifar_side);
  reading.source = stored;
  const auto record = static_cast<std::size_t>(label_bytes + cifar_bytes);
  for (const fs::path& path : files) {
    const std::string bytes = read_unpacked(packed_or_not(path), most_bytes);
    const std::int64_t count = count_cifar_records(bytes, label_bytes, skip_corrupt, path.string());
    if (bytes.size() % record != 0) ++reading.skipped;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::size_t place = static_cast<std::size_t>(i) * record;
      const std::int64_t label = static_cast<unsigned char>(bytes[place + static_cast<std::size_t>(label_byte)]);
      if (label < classes) {
        stored->append(as_bytes(bytes).subspan(place + static_cast<std::size_t>(label_bytes), cifar_bytes), label);
      } else if (skip_corrupt) {
        ++reading.skipped;
      } else {
        throw DataError(wrong_label(path, i, label, classes));
      }
    }
  }
  require_any(reading, files.front());
  return reading;
}

}  // namespace rwkvlab
