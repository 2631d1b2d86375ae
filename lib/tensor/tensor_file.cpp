#include "tensor/tensor_file.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/nearest.h"
#include "tensor/half.h"
#include "tensor/pth.h"
#include "tensor/safetensors.h"
#include "tensor/zip_archive.h"

namespace rwkvlab {
namespace {

static_assert(std::endian::native == std::endian::little, "files are read and written in the machine's byte order");

using detail::shown;

struct StoredType {
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<StoredType, 13> stored_types = {{{"F64", 8},
                                                      {"F32", 4},
                                                      {"F16", 2},
                                                      {"BF16", 2},
                                                      {"I64", 8},
                                                      {"I32", 4},
                                                      {"I16", 2},
                                                      {"I8", 1},
                                                      {"U64", 8},
                                                      {"U32", 4},
                                                      {"U16", 2},
                                                      {"U8", 1},
                                                      {"BOOL", 1}}};

// Elements may lie at any address, so each is copied out before use.
template <class Stored, class Into, class Convert>
void convert(const std::byte* from, std::span<Into> into, Convert&& one) {
  for (std::size_t i = 0; i < into.size(); ++i) {
    Stored value;
    std::memcpy(&value, from + i * sizeof(Stored), sizeof(Stored));
    into[i] = static_cast<Into>(one(value));
  }
}

template <class Stored, class Into>
void convert_plain(const std::byte* from, std::span<Into> into) {
  if constexpr (std::is_same_v<Stored, Into>) {
    std::memcpy(into.data(), from, into.size_bytes());
  } else {
    convert<Stored>(from, into, [](Stored value) { return value; });
  }
}

template <class Into>
void convert_elements(const std::string& file, const TensorEntry& entry, const std::byte* from, std::span<Into> into) {
  const std::string_view type = entry.stored_type;
  if (type == "F32") return convert_plain<float>(from, into);
  if (type == "BF16") return convert<std::uint16_t>(from, into, from_bfloat);
  if (type == "F16") return convert<std::uint16_t>(from, into, from_half);
  if (type == "F64") return convert_plain<double>(from, into);
  if (type == "I64") return convert_plain<std::int64_t>(from, into);
  if (type == "I32") return convert_plain<std::int32_t>(from, into);
  if (type == "I16") return convert_plain<std::int16_t>(from, into);
  if (type == "I8")
    return convert<std::uint8_t>(from, into, [](int value) { return value < 128 ? value : value - 256; });
  if (type == "U32") return convert_plain<std::uint32_t>(from, into);
  if (type == "U16") return convert_plain<std::uint16_t>(from, into);
  if (type == "U8") return convert_plain<std::uint8_t>(from, into);
  if (type == "BOOL") return convert<std::uint8_t>(from, into, [](std::uint8_t value) { return value != 0 ? 1 : 0; });
  convert<std::uint64_t>(from, into, [&](std::uint64_t value) {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      throw DataError(
          fmt::format("'{}': the tensor {} holds {}, expected integers below 2^63", file, shown(entry.name), value));
    }
    return static_cast<std::int64_t>(value);
  });
}

// The elements of a tensor with strides, one after the other.
std::vector<std::byte> gathered(const TensorEntry& entry, const std::byte* from) {
  const std::size_t element = detail::stored_size(entry.stored_type);
  std::vector<std::byte> result(static_cast<std::size_t>(entry.shape.elements()) * element);
  std::array<std::int64_t, Shape::max_rank> at{};
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < result.size(); i += element) {
    std::memcpy(result.data() + i, from + static_cast<std::size_t>(offset) * element, element);
    for (int d = entry.shape.rank() - 1; d >= 0; --d) {
      const auto dimension = static_cast<std::size_t>(d);
      offset += entry.strides[dimension];
      if (++at[dimension] < entry.shape[d]) break;
      offset -= at[dimension] * entry.strides[dimension];
      at[dimension] = 0;
    }
  }
  return result;
}

std::vector<std::string> keys_of(const std::map<std::string, std::string>& map) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : map) keys.push_back(key);
  return keys;
}

}  // namespace

namespace detail {

std::size_t stored_size(std::string_view stored_type) {
  for (const StoredType& type : stored_types) {
    if (type.name == stored_type) return type.bytes;
  }
  return 0;
}

std::string shown(std::string_view name) {
  constexpr std::size_t longest = 120;
  const bool is_long = name.size() > longest;
  const std::string text = nlohmann::json(std::string(name.substr(0, longest)))
                               .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return fmt::format("'{}{}'", std::string_view(text).substr(1, text.size() - 2), is_long ? "…" : "");
}

}  // namespace detail

DType TensorEntry::dtype() const {
  if (stored_type == "F64") return DType::f64;
  return stored_type == "F32" || stored_type == "F16" || stored_type == "BF16" ? DType::f32 : DType::i64;
}

void TensorFile::set_contents(std::vector<TensorEntry> entries, std::map<std::string, std::string> metadata) {
  entries_ = std::move(entries);
  metadata_ = std::move(metadata);
  for (std::size_t i = 0; i < entries_.size(); ++i) index_.emplace(entries_[i].name, i);
}

std::vector<std::string> TensorFile::names() const {
  std::vector<std::string> names;
  for (const TensorEntry& entry : entries_) names.push_back(entry.name);
  return names;
}

const std::string& TensorFile::metadata(const std::string& key) const {
  const auto found = metadata_.find(key);
  if (found != metadata_.end()) return found->second;
  throw DataError(
      fmt::format("'{}' has no metadata {}{}", path().string(), shown(key), did_you_mean(key, keys_of(metadata_))));
}

const TensorEntry* TensorFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &entries_[found->second];
}

const TensorEntry& TensorFile::entry(std::string_view name) const {
  if (const TensorEntry* found = find(name)) return *found;
  throw DataError(fmt::format("'{}' has no tensor {} among its {}{}", path().string(), shown(name), entries_.size(),
                              did_you_mean(name, names())));
}

Tensor TensorFile::tensor(std::string_view name) const { return tensor(name, entry(name).dtype()); }

Tensor TensorFile::tensor(std::string_view name, DType type) const {
  Tensor result = Tensor::empty(entry(name).shape, type);
  read(name, result);
  return result;
}

Tensor TensorFile::require(std::string_view name, const Shape& shape) const {
  const TensorEntry& found = entry(name);
  if (found.shape != shape) {
    throw DataError(fmt::format("'{}': the tensor {} has shape {}, expected {}", path().string(), shown(name),
                                found.shape.text(), shape.text()));
  }
  return tensor(name);
}

void TensorFile::read(std::string_view name, const Tensor& into) const {
  const TensorEntry& found = entry(name);
  if (into.dtype() == DType::i64 && found.dtype() != DType::i64) {
    throw DataError(fmt::format("'{}': the tensor {} has the type {}, expected integers", path().string(), shown(name),
                                found.stored_type));
  }
  check_invariant(into.elements() == found.shape.elements(), "a tensor was read into one of another size");
  if (found.bytes == 0 || ShapeOnly::active()) return;
  const std::byte* from = file_.bytes().data() + found.begin;
  if (found.checksum && detail::checksum_of({from, found.bytes}) != *found.checksum) {
    throw DataError(fmt::format(
        "'{}': the bytes of the tensor {} do not have the checksum that the file states: it is damaged, copy "
        "or download it again",
        path().string(), shown(name)));
  }
  std::vector<std::byte> in_order;
  if (!found.strides.empty()) {
    in_order = gathered(found, from);
    from = in_order.data();
  }
  const std::string file = path().string();
  switch (into.dtype()) {
    case DType::f32:
      convert_elements(file, found, from, into.span<float>());
      break;
    case DType::f64:
      convert_elements(file, found, from, into.span<double>());
      break;
    case DType::i64:
      convert_elements(file, found, from, into.span<std::int64_t>());
      break;
  }
  file_.release_pages(found.begin, found.bytes);
}

std::string_view tensor_file_format(const std::filesystem::path& path) {
  char start[9] = {};
  std::ifstream(path, std::ios::binary).read(start, sizeof start);
  const std::string_view text(start, sizeof start);
  if (text.starts_with("PK\x03\x04") || text.starts_with(detail::legacy_pth_start)) return "pth";
  // The header's length has no more than 27 bits.
  return text[4] == 0 && text[5] == 0 && text[6] == 0 && text[7] == 0 && text[8] == '{' ? "safetensors" : "";
}

TensorFile open_tensor_file(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) throw DataError(missing_file_text(path));
  const std::string_view format = tensor_file_format(path);
  if (format == "pth" || (format.empty() && path.extension() == ".pth")) return PthFile(path);
  if (format == "safetensors" || path.extension() == ".safetensors") return SafetensorsFile(path);
  throw DataError(fmt::format("'{}' is neither a safetensors file nor a .pth file of torch.save", path.string()));
}

}  // namespace rwkvlab
