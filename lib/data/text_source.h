// The bytes of many files as one text.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "data/tokenizer.h"

namespace rwkvlab {

/// Files one after the other, without anything between them. Large files are mapped, so their size may exceed the
/// memory; small ones are copied, so that many of them are cheap and may change while they are in use.
class TextSource {
 public:
  struct Piece {
    std::string name;  ///< for messages
    std::string_view bytes;
    std::uint64_t begin = 0;  ///< place in the whole text
  };

  TextSource() = default;
  /// Opens every file. Throws DataError as MappedFile does.
  explicit TextSource(const std::vector<std::filesystem::path>& paths);
  /// A text that was made, not read.
  TextSource(std::string name, std::string text);

  std::uint64_t size() const { return size_; }
  const std::vector<Piece>& pieces() const { return pieces_; }
  /// Number of the piece that holds a byte of the text.
  std::size_t piece_at(std::uint64_t place) const;
  /// "'a.txt'", or "'a.txt' and 3 more files".
  std::string names() const;

 private:
  void add(std::string name, std::string_view bytes);

  std::vector<Piece> pieces_;
  std::uint64_t size_ = 0;
  std::deque<MappedFile> maps_;
  std::deque<std::string> copies_;
};

/// The characters of all sources, sorted by code point. Throws DataError for invalid UTF-8, naming file and offset.
Tokenizer characters_of(std::span<const TextSource* const> sources);

}  // namespace rwkvlab
