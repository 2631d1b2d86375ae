// Tokens and text: bytes, characters numbered by code point, words of a list, or the vocabulary of a file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/file_vocabulary.h"

namespace rwkvlab {

/// A value: copies are independent and equal.
class Tokenizer {
 public:
  /// Token = byte; 256 tokens. Any file is a text.
  static Tokenizer bytes();
  /// Token = place of the character in `code_points`, which must increase; the official RWKV-4 training code numbers
  /// characters like this. At most 65,536 characters.
  static Tokenizer characters(std::vector<char32_t> code_points);
  /// Token = place in the list; text is words between spaces. For generated tasks, whose tokens have names. Words are
  /// not empty, hold no white space and differ from each other.
  static Tokenizer words(std::vector<std::string> words);
  /// The World vocabulary or the BPE of GPT-NeoX; see file_vocabulary.h.
  static Tokenizer of_file(std::shared_ptr<const FileVocabulary> vocabulary);
  /// What a person names: "bytes", or a file of any kind that this program reads: a World vocabulary, a tokenizer.json
  /// of the GPT-NeoX kind (both plain or gzip), what json() wrote, or a checkpoint or token file. Throws DataError.
  static Tokenizer open(const std::string& name);
  /// What json() wrote. Throws DataError naming `file`.
  static Tokenizer from_json(const nlohmann::json& json, const std::string& file);
  static Tokenizer load(const std::filesystem::path& path);

  std::int64_t size() const;
  bool is_bytes() const { return kind_ == Kind::bytes; }
  /// "bytes", "characters", "words", "world" or "neox".
  std::string_view kind() const;
  /// The token that stands between documents; only vocabularies of files have one.
  std::optional<std::int64_t> end_of_text() const;
  /// SHA-256 of the file of a vocabulary, or of json(): equal for tokenizers that are equal.
  std::string digest() const;

  /// The token of a character; nothing when it is not in the vocabulary. For characters only.
  std::optional<std::int64_t> token_of(char32_t code_point) const;
  /// Bytes of text that a token stands for; a word counts with the space behind it, the end of a text nothing.
  std::int64_t byte_length(std::int64_t token) const;
  /// UTF-8 characters that begin in a token.
  std::int64_t character_count(std::int64_t token) const;

  /// Throws DataError naming `source` and the byte offset of invalid UTF-8 (bytes and World read anything) or of a
  /// character or word outside the vocabulary. No text encodes to the end of text, but NeoX reads "<|endoftext|>".
  std::vector<std::int64_t> encode(std::string_view text, const std::string& source = "the text") const;
  /// Appends the tokens of text[begin, ...) up to a place at or behind `limit` where the tokens of the whole text have
  /// a border too; returns it. For texts that are larger than the memory. `begin` must be 0 or what this returned.
  std::size_t encode_part(std::string_view text, std::size_t begin, std::size_t limit, const std::string& source,
                          std::vector<std::int64_t>& tokens) const;
  /// The bytes that tokens stand for, which need not be UTF-8 (streaming_decoder.h makes text of them). Throws
  /// DataError for a token outside the vocabulary. Each word is followed by a space; unused ids and the end of a World
  /// text are nothing.
  std::string decode(std::span<const std::int64_t> tokens) const;

  /// {"kind": "bytes"}, {"kind": "characters", "symbols": {"0": "\n", "1": " ", ...}}, {"kind": "words", "symbols":
  /// {"0": "[MIN", ...}}, or, with the whole file in it, {"kind": "world" or "neox", "sha256": "...", "gzip": base64}.
  nlohmann::json json() const;

  bool operator==(const Tokenizer& other) const;

 private:
  enum class Kind { bytes, characters, words, file };
  // Empty when they can be told apart in a text.
  static std::string problem_of_words(const std::vector<std::string>& words);
  void encode_words(std::string_view text, const std::string& source, std::vector<std::int64_t>& tokens) const;
  std::size_t encode_characters(std::string_view text, std::size_t begin, std::size_t limit, const std::string& source,
                                std::vector<std::int64_t>& tokens) const;

  Kind kind_ = Kind::bytes;
  std::vector<std::string> words_;
  std::unordered_map<std::string, std::int64_t> word_tokens_;
  std::vector<char32_t> code_points_;
  std::vector<std::uint16_t> low_tokens_;  // of code points below 256, the common case; 0xFFFF: none
  std::unordered_map<char32_t, std::uint16_t> tokens_;
  std::shared_ptr<const FileVocabulary> file_;
};

}  // namespace rwkvlab
