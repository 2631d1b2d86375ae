#include "data/text_source.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "data/utf8.h"

namespace rwkvlab {
namespace {

// Smaller files are copied: a map costs a page and one of a limited number of maps.
constexpr std::size_t smallest_map = std::size_t{4} << 20;

// Calls `use` with every character of a piece. The error of invalid bytes names file and offset.
template <class Use>
void for_each_character(const TextSource::Piece& piece, Use&& use) {
  for (std::size_t position = 0; position < piece.bytes.size();) {
    const std::size_t begin = position;
    const char32_t code_point = next_code_point(piece.bytes, position);
    if (code_point == invalid_code_point) {
      throw DataError(
          fmt::format("'{}': byte {} is not valid UTF-8, which tokens: characters needs; tokens: bytes "
                      "reads any file",
                      piece.name, begin));
    }
    use(code_point, begin);
  }
}

}  // namespace

TextSource::TextSource(const std::vector<std::filesystem::path>& paths) {
  for (const std::filesystem::path& path : paths) {
    MappedFile file(path);
    if (file.size() >= smallest_map) {
      maps_.push_back(std::move(file));
      add(path.string(), maps_.back().text());
    } else {
      copies_.emplace_back(file.text());
      add(path.string(), copies_.back());
    }
  }
}

TextSource::TextSource(std::string name, std::string text) {
  copies_.push_back(std::move(text));
  add(std::move(name), copies_.back());
}

void TextSource::add(std::string name, std::string_view bytes) {
  pieces_.push_back({std::move(name), bytes, size_});
  size_ += bytes.size();
}

std::size_t TextSource::piece_at(std::uint64_t place) const {
  const auto after = std::upper_bound(pieces_.begin(), pieces_.end(), place,
                                      [](std::uint64_t value, const Piece& piece) { return value < piece.begin; });
  return static_cast<std::size_t>(after - pieces_.begin()) - 1;
}

std::string TextSource::names() const {
  if (pieces_.empty()) return "no file";
  if (pieces_.size() == 1) return fmt::format("'{}'", pieces_.front().name);
  return fmt::format("'{}' and {} more file{}", pieces_.front().name, pieces_.size() - 1,
                     pieces_.size() == 2 ? "" : "s");
}

Tokenizer characters_of(std::span<const TextSource* const> sources) {
  std::vector<bool> is_present(0x110000);
  for (const TextSource* source : sources) {
    for (const TextSource::Piece& piece : source->pieces()) {
      for_each_character(piece, [&](char32_t code_point, std::size_t) { is_present[code_point] = true; });
    }
  }
  std::vector<char32_t> code_points;
  for (char32_t code_point = 0; code_point < is_present.size(); ++code_point) {
    if (is_present[code_point]) code_points.push_back(code_point);
  }
  return Tokenizer::characters(std::move(code_points));
}

}  // namespace rwkvlab
