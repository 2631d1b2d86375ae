// Token files: tokenised text on the disk, mapped into memory for training. A token file is a safetensors file
// (docs/tokenizers.md), so that anything that reads those can read it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "data/tokenizer.h"

namespace rwkvlab {

/// Writes a token file without keeping the tokens in memory. The file appears when it is complete.
class TokenFileWriter {
 public:
  /// Tokens take 2 bytes, or 4 where the vocabulary has more than 65,536.
  TokenFileWriter(const std::filesystem::path& path, const Tokenizer& tokenizer);

  /// Begins a document; the tokens that follow belong to it.
  void begin_document();
  void write(std::span<const std::int64_t> tokens);
  /// Bytes of text that were tokenised so far.
  void add_source_bytes(std::uint64_t bytes) { source_bytes_ += bytes; }
  /// To be called once, last. Throws DataError when there are no tokens.
  void finish();

  std::uint64_t tokens() const { return tokens_; }
  std::uint64_t documents() const { return documents_.size(); }
  std::uint64_t source_bytes() const { return source_bytes_; }

 private:
  std::string header(std::uint64_t tokens, std::uint64_t documents, std::uint64_t source_bytes) const;

  std::filesystem::path path_;
  AtomicFile file_;
  std::string tokenizer_, digest_;  // for the header
  std::int64_t vocabulary_;
  std::size_t token_bytes_;
  std::size_t header_bytes_ = 0;
  std::uint64_t tokens_ = 0, source_bytes_ = 0;
  std::vector<std::int64_t> documents_;  // where each begins
  std::string pending_;
};

/// A token file opened for reading. Nothing but the header is read before it is asked for.
class TokenFile {
 public:
  /// Throws DataError naming the path for what is no token file.
  explicit TokenFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  std::int64_t size() const { return size_; }
  /// Tokens [begin, begin + into.size()); the range must lie inside. Throws DataError for a token outside the
  /// vocabulary, which only a damaged file has.
  void read(std::int64_t begin, std::span<std::int64_t> into) const;
  /// The tokens as which the documents begin.
  std::vector<std::int64_t> documents() const;
  /// Bytes of the text that was tokenised.
  std::int64_t source_bytes() const { return source_bytes_; }
  /// Reads the tokenizer that the file holds; this takes a moment.
  Tokenizer tokenizer() const;
  /// Tokenizer::digest() of it.
  const std::string& digest() const { return digest_; }

 private:
  MappedFile file_;
  std::string digest_;
  std::int64_t size_ = 0, source_bytes_ = 0, vocabulary_ = 0;
  std::size_t begin_ = 0;  // of the tokens
  bool is_wide_ = false;
};

/// Whether a file begins like a token file; false for one that cannot be read.
bool is_token_file(const std::filesystem::path& path);

}  // namespace rwkvlab
