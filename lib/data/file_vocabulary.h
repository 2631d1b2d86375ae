// A vocabulary that comes from a file which others made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rwkvlab {

/// Immutable; shared by the tokenizers that use it.
class FileVocabulary {
 public:
  /// `content`: the whole file.
  explicit FileVocabulary(std::string content);
  FileVocabulary(const FileVocabulary&) = delete;
  FileVocabulary& operator=(const FileVocabulary&) = delete;
  virtual ~FileVocabulary() = default;

  /// "world" or "neox".
  virtual std::string_view kind() const = 0;
  /// Appends the tokens of text[begin, ...) up to a place at or behind `limit` where the tokens of the whole text have
  /// a border too, or to its end; returns that place. `begin` must be 0 or what an earlier call returned. Throws
  /// DataError naming `source` and the byte that cannot be read.
  virtual std::size_t encode(std::string_view text, std::size_t begin, std::size_t limit, const std::string& source,
                             std::vector<std::int64_t>& tokens) const = 0;

  /// Number of ids, used or not.
  std::int64_t size() const { return static_cast<std::int64_t>(texts_.size()); }
  /// What a token stands for; empty for the end of text and for ids that the file leaves unused.
  std::string_view bytes_of(std::int64_t token) const { return texts_[static_cast<std::size_t>(token)]; }
  /// The token between documents.
  std::int64_t end_of_text() const { return 0; }

  const std::string& content() const { return content_; }
  /// Of the content, in hexadecimal.
  const std::string& digest() const { return digest_; }

 protected:
  std::vector<std::string> texts_;  // by id

 private:
  std::string content_;
  std::string digest_;
};

/// The vocabulary of RWKV World models, "rwkv_vocab_v20230424.txt": a line "id literal length" for each token, where
/// the literal is a Python str or bytes and the length that of its bytes. Encoding takes the longest token again and
/// again; every byte is a token, so any bytes can be encoded. Id 0 ends a text and is in no line; size() is the next
/// multiple of 8 behind the last id (65,529 tokens: 65,536), as official models have it. Throws DataError naming `file`
/// and the line for anything else: ids must be 1, 2, ... without gaps, tokens must differ, lengths must be right.
std::shared_ptr<const FileVocabulary> parse_world_vocabulary(std::string content, const std::string& file);

/// The byte-level BPE of GPT-NeoX 20B, which RWKV-4 Pile models use, from its "tokenizer.json": added tokens, NFC,
/// the pattern of GPT-2, merges by rank. Throws DataError naming `file` for a tokenizer of any other kind.
std::shared_ptr<const FileVocabulary> parse_neox_vocabulary(std::string content, const std::string& file);

}  // namespace rwkvlab
