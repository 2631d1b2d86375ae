#include "tensor/safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "base/error.h"

namespace rwkvlab::detail {
namespace {

constexpr std::uint64_t max_header = 100'000'000;  // as in the reference implementation

// Takes the events of the JSON parser. The header has one possible structure, so this is a small state machine that
// refuses the first event that does not fit; nothing that does not fit is ever stored.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string file) : file_(std::move(file)) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool key(std::string& text) override {
    switch (state_) {
      case State::top:
        begin_value(text);
        break;
      case State::metadata:
        if (header_.metadata.contains(text)) fail(fmt::format("the metadata key {} appears twice", shown(text)));
        metadata_key_ = text;
        break;
      default:
        begin_field(text);
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (state_ == State::start) {
      state_ = State::top;
    } else if (state_ == State::top && is_metadata_) {
      state_ = State::metadata;
    } else if (state_ == State::top) {
      state_ = State::tensor;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool end_object() override {
    if (state_ == State::tensor) finish_tensor();
    state_ = state_ == State::top ? State::finished : State::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ != State::tensor || (field_ != Field::shape && field_ != Field::offsets)) unexpected("a list");
    state_ = State::list;
    return true;
  }

  bool end_array() override {
    state_ = State::tensor;
    return true;
  }

  bool string(std::string& text) override {
    if (state_ == State::metadata) {
      header_.metadata.emplace(metadata_key_, text);
    } else if (state_ == State::tensor && field_ == Field::dtype) {
      if (stored_size(text) == 0) fail_tensor(fmt::format("has the type {}; known types are {}", shown(text), known()));
      entry_.stored_type = text;
    } else {
      unexpected("a text");
    }
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ != State::list) unexpected("a number");
    if (field_ == Field::offsets) {
      if (offset_count_ == 2) fail_tensor("has more than two data_offsets");
      offsets_[offset_count_++] = value;
      return true;
    }
    if (sizes_.size() == Shape::max_rank) fail_tensor(fmt::format("has more than {} dimensions", Shape::max_rank));
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      fail_tensor(fmt::format("has a dimension of {}, which is too large", value));
    }
    sizes_.push_back(static_cast<std::int64_t>(value));
    return true;
  }

  bool number_integer(number_integer_t value) override { return not_a_count(fmt::format("{}", value)); }
  bool number_float(number_float_t value, const std::string&) override { return not_a_count(fmt::format("{}", value)); }
  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a truth value"); }
  bool binary(nlohmann::json::binary_t&) override { return unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) override {
    const bool is_encoding = std::string_view(error.what()).find("UTF-8") != std::string_view::npos;
    fail(fmt::format("the header is not {} at byte {}, expected JSON text in UTF-8 and nothing after it",
                     is_encoding ? "UTF-8" : "valid JSON", position + 7));
  }

 private:
  enum class State { start, top, metadata, tensor, list, finished };
  enum class Field { none, dtype, shape, offsets };

  static std::string known() { return "F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL"; }

  [[noreturn]] void fail(const std::string& what) const { throw DataError(fmt::format("'{}': {}", file_, what)); }
  [[noreturn]] void fail_tensor(const std::string& what) const {
    fail(fmt::format("the tensor {} {}", shown(entry_.name), what));
  }
  [[noreturn]] bool unexpected(std::string_view found) const {
    if (state_ == State::metadata) {
      fail(fmt::format("the metadata {} is {}, expected a text", shown(metadata_key_), found));
    }
    if (state_ == State::start) fail(fmt::format("the header is {}, expected an object", found));
    if (state_ == State::top) {
      const std::string what = is_metadata_ ? "__metadata__" : entry_.name;
      fail(fmt::format("the header has {} for {}, expected an object", found, shown(what)));
    }
    fail_tensor(
        fmt::format("has {} in its description, expected dtype (a text), shape and data_offsets (lists of "
                    "integers from 0)",
                    found));
  }
  [[noreturn]] bool not_a_count(const std::string& value) const {
    if (state_ != State::list) unexpected("a number");
    fail_tensor(fmt::format("has {} in its {}, expected integers from 0", value,
                            field_ == Field::shape ? "shape" : "data_offsets"));
  }

  void begin_value(const std::string& text) {
    is_metadata_ = text == "__metadata__";
    if (is_metadata_) {
      if (std::exchange(has_metadata_, true)) fail("the header has __metadata__ twice");
      return;
    }
    if (!names_.insert(text).second) fail(fmt::format("the header has the tensor {} twice", shown(text)));
    entry_ = TensorEntry{};
    entry_.name = text;
    sizes_.clear();
    offset_count_ = 0;
    seen_ = {};
    field_ = Field::none;
  }

  void begin_field(const std::string& text) {
    static constexpr std::array<std::string_view, 4> fields = {"", "dtype", "shape", "data_offsets"};
    const auto found = std::find(fields.begin() + 1, fields.end(), text);
    if (found == fields.end()) {
      fail_tensor(fmt::format("has the key {}, expected dtype, shape and data_offsets", shown(text)));
    }
    const auto index = static_cast<std::size_t>(found - fields.begin());
    if (std::exchange(seen_[index], true)) fail_tensor(fmt::format("has the key '{}' twice", text));
    field_ = static_cast<Field>(index);
  }

  void finish_tensor() {
    if (!seen_[1] || !seen_[2] || !seen_[3]) fail_tensor("lacks one of dtype, shape and data_offsets");
    if (offset_count_ != 2) fail_tensor(fmt::format("has {} data_offsets, expected two", offset_count_));
    std::uint64_t bytes = stored_size(entry_.stored_type);
    const bool is_empty = std::find(sizes_.begin(), sizes_.end(), 0) != sizes_.end();
    for (const std::int64_t size : sizes_) {
      if (is_empty) break;
      if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(size), &bytes)) {
        fail_tensor("has a shape whose size in bytes is too large");
      }
    }
    if (is_empty) bytes = 0;
    // Sizes are kept only when they can be multiplied in any order, as users of Shape do.
    entry_.shape = is_empty ? empty_shape() : Shape(sizes_);
    if (offsets_[1] < offsets_[0]) {
      fail_tensor(fmt::format("ends at {} before it begins at {}", offsets_[1], offsets_[0]));
    }
    if (offsets_[1] - offsets_[0] != bytes) {
      fail_tensor(fmt::format("has {} bytes (data_offsets {} to {}), expected {} for {} {}", offsets_[1] - offsets_[0],
                              offsets_[0], offsets_[1], bytes, entry_.stored_type, entry_.shape.text()));
    }
    entry_.begin = offsets_[0];
    entry_.bytes = bytes;
    header_.entries.push_back(std::move(entry_));
  }

  Shape empty_shape() const {
    std::uint64_t product = 1;
    for (const std::int64_t size : sizes_) {
      if (size == 0) continue;
      if (__builtin_mul_overflow(product, static_cast<std::uint64_t>(size), &product) || product > (1ULL << 60)) {
        fail_tensor("has an empty shape with dimensions that are too large");
      }
    }
    return Shape(sizes_);
  }

  std::string file_;
  SafetensorsHeader header_;
  State state_ = State::start;
  Field field_ = Field::none;
  std::unordered_set<std::string> names_;
  TensorEntry entry_;
  std::vector<std::int64_t> sizes_;
  std::array<std::uint64_t, 2> offsets_{};
  std::size_t offset_count_ = 0;
  std::array<bool, 4> seen_{};
  std::string metadata_key_;
  bool is_metadata_ = false;
  bool has_metadata_ = false;
};

// The ranges must cover the rest of the file exactly once; turns them into places in the file.
void place_entries(SafetensorsHeader& header, std::size_t data_begin, std::size_t data_bytes, const std::string& file) {
  std::stable_sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.bytes < b.bytes;
  });
  std::uint64_t position = 0;
  std::string before = "the start of the data";
  for (TensorEntry& entry : header.entries) {
    if (entry.begin > data_bytes || entry.bytes > data_bytes - entry.begin) {
      throw DataError(fmt::format("'{}': the tensor {} ends at byte {} of the data, but the file holds only {} bytes",
                                  file, shown(entry.name), entry.begin + entry.bytes, data_bytes));
    }
    if (entry.begin != position) {
      throw DataError(fmt::format("'{}': the tensor {} begins at byte {} of the data and {} {} at byte {}, expected {}",
                                  file, shown(entry.name), entry.begin, before, position == 0 ? "is" : "ends", position,
                                  entry.begin < position ? "no overlap" : "no gap"));
    }
    position += entry.bytes;
    before = fmt::format("the one before ({})", shown(entry.name));
    entry.begin += data_begin;
  }
  if (position != data_bytes) {
    throw DataError(fmt::format("'{}': {} bytes follow the last tensor, expected the file to end there", file,
                                data_bytes - position));
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view bytes, const std::string& file) {
  if (bytes.size() < 8) {
    throw DataError(fmt::format("'{}' has {} bytes, expected a safetensors file (at least 8)", file, bytes.size()));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  if (length > max_header) {
    throw DataError(fmt::format("'{}': the header claims {} bytes, expected at most {}; is it a safetensors file?",
                                file, length, max_header));
  }
  if (length > bytes.size() - 8) {
    throw DataError(fmt::format("'{}': the header claims {} bytes, but only {} follow; the file is cut short", file,
                                length, bytes.size() - 8));
  }
  const std::string_view text = bytes.substr(8, length);
  if (!text.starts_with('{')) throw DataError(fmt::format("'{}': the header does not begin with '{{'", file));
  HeaderReader reader(file);
  nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  SafetensorsHeader header = reader.take();
  place_entries(header, 8 + length, bytes.size() - 8 - length, file);
  return header;
}

}  // namespace rwkvlab::detail
