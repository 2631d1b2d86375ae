// A text as tokens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/text_source.h"
#include "data/tokenizer.h"

namespace rwkvlab {

/// Where the tokens of a text are.
class TokenStorage {
 public:
  TokenStorage() = default;
  TokenStorage(const TokenStorage&) = delete;
  TokenStorage& operator=(const TokenStorage&) = delete;
  virtual ~TokenStorage() = default;
  virtual std::int64_t size() const = 0;
  /// Tokens [begin, begin + into.size()), which lie inside.
  virtual void read(std::int64_t begin, std::span<std::int64_t> into) const = 0;
};

/// Bytes stay where they are, tokens of other kinds become 16-bit numbers (32 where the vocabulary is larger), and
/// those of token files are read from the disk when they are needed.
class TokenText {
 public:
  TokenText() = default;
  /// Encodes a text, file by file. Throws DataError as Tokenizer::encode does.
  TokenText(std::shared_ptr<const TextSource> source, std::shared_ptr<const Tokenizer> tokenizer);
  /// Token files (token_file.h), one after the other, with the tokenizer that they hold. Throws DataError when that
  /// differs between them, and for a file without tokens.
  explicit TokenText(const std::vector<std::filesystem::path>& token_files);

  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  std::int64_t size() const { return storage_ == nullptr ? 0 : storage_->size(); }
  /// Tokens [begin, begin + into.size()); the range must lie inside.
  void read(std::int64_t begin, std::span<std::int64_t> into) const;
  /// Bytes that tokens stand for.
  std::int64_t bytes_of(std::span<const std::int64_t> tokens) const;
  /// UTF-8 characters that begin among the tokens.
  std::int64_t characters_of(std::span<const std::int64_t> tokens) const;
  /// Bytes of the whole text, per token.
  double bytes_per_token() const;
  const std::string& names() const { return names_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<const TokenStorage> storage_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string names_;
  std::uint64_t bytes_ = 0;
};

}  // namespace rwkvlab
