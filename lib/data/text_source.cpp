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

TokenText::TokenText(std::shared_ptr<const TextSource> source, std::shared_ptr<const Tokenizer> tokenizer)
    : tokenizer_(std::move(tokenizer)), names_(source->names()), bytes_(source->size()) {
  if (tokenizer_->is_bytes()) {
    source_ = std::move(source);
    return;
  }
  std::size_t count = 0;
  for (const TextSource::Piece& piece : source->pieces()) {
    // Every byte but a continuation byte begins a character.
    count += static_cast<std::size_t>(std::count_if(
        piece.bytes.begin(), piece.bytes.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
  }
  ids_.reserve(count);
  for (const TextSource::Piece& piece : source->pieces()) {
    for_each_character(piece, [&](char32_t code_point, std::size_t begin) {
      const auto token = tokenizer_->token_of(code_point);
      if (!token) {
        throw DataError(
            fmt::format("'{}': the character U+{:04X} at byte {} does not occur in the training text; "
                        "tokens: bytes has no such limit",
                        piece.name, static_cast<std::uint32_t>(code_point), begin));
      }
      ids_.push_back(static_cast<std::uint16_t>(*token));
    });
  }
}

std::int64_t TokenText::size() const {
  return source_ ? static_cast<std::int64_t>(source_->size()) : static_cast<std::int64_t>(ids_.size());
}

void TokenText::read(std::int64_t begin, std::span<std::int64_t> into) const {
  check_invariant(begin >= 0 && static_cast<std::uint64_t>(begin) + into.size() <= static_cast<std::uint64_t>(size()),
                  "tokens outside the text were asked for");
  if (!source_) {
    std::copy_n(ids_.begin() + begin, into.size(), into.begin());
    return;
  }
  auto place = static_cast<std::uint64_t>(begin);
  std::size_t number = into.empty() ? 0 : source_->piece_at(place);
  while (!into.empty()) {
    const TextSource::Piece& piece = source_->pieces()[number++];
    const std::string_view rest = piece.bytes.substr(place - piece.begin, into.size());
    std::transform(rest.begin(), rest.end(), into.begin(), [](char c) { return static_cast<unsigned char>(c); });
    into = into.subspan(rest.size());
    place += rest.size();
  }
}

std::int64_t TokenText::bytes_of(std::span<const std::int64_t> tokens) const {
  if (source_) return static_cast<std::int64_t>(tokens.size());
  std::int64_t bytes = 0;
  for (const std::int64_t token : tokens) bytes += tokenizer_->byte_length(token);
  return bytes;
}

std::int64_t TokenText::characters_of(std::span<const std::int64_t> tokens) const {
  const auto begins = [](std::int64_t byte) { return (byte & 0xc0) != 0x80; };
  return source_ ? std::count_if(tokens.begin(), tokens.end(), begins) : static_cast<std::int64_t>(tokens.size());
}

double TokenText::bytes_per_token() const {
  return size() == 0 ? 1 : static_cast<double>(bytes_) / static_cast<double>(size());
}

}  // namespace rwkvlab
