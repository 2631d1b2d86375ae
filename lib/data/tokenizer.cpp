#include "data/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "data/utf8.h"

namespace rwkvlab {
namespace {

constexpr std::uint16_t none = 0xFFFF;
constexpr std::size_t max_characters = 65536;
constexpr std::string_view white_space = " \t\n\v\f\r";

}  // namespace

std::string Tokenizer::problem_of_words(const std::vector<std::string>& words) {
  std::unordered_set<std::string_view> seen;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].empty() || words[i].find_first_of(white_space) != std::string::npos) {
      return fmt::format("symbol {} is empty or holds white space", i);
    }
    if (!seen.insert(words[i]).second) return fmt::format("symbol {} repeats '{}'", i, words[i]);
  }
  return "";
}

Tokenizer Tokenizer::bytes() { return {}; }

Tokenizer Tokenizer::of_file(std::shared_ptr<const FileVocabulary> vocabulary) {
  check_invariant(vocabulary != nullptr, "a tokenizer of no vocabulary");
  Tokenizer result;
  result.kind_ = Kind::file;
  result.file_ = std::move(vocabulary);
  return result;
}

Tokenizer Tokenizer::words(std::vector<std::string> words) {
  check_invariant(!words.empty() && problem_of_words(words).empty(), "a vocabulary of words that cannot be told apart");
  Tokenizer result;
  result.kind_ = Kind::words;
  result.words_ = std::move(words);
  for (const std::string& word : result.words_) {
    result.word_tokens_.emplace(word, static_cast<std::int64_t>(result.word_tokens_.size()));
  }
  return result;
}

std::int64_t Tokenizer::size() const {
  switch (kind_) {
    case Kind::bytes:
      return 256;
    case Kind::characters:
      return static_cast<std::int64_t>(code_points_.size());
    case Kind::words:
      return static_cast<std::int64_t>(words_.size());
    case Kind::file:
      return file_->size();
  }
  return 0;
}

std::string_view Tokenizer::kind() const {
  switch (kind_) {
    case Kind::bytes:
      return "bytes";
    case Kind::characters:
      return "characters";
    case Kind::words:
      return "words";
    case Kind::file:
      return file_->kind();
  }
  return "";
}

std::optional<std::int64_t> Tokenizer::end_of_text() const {
  return kind_ == Kind::file ? std::optional(file_->end_of_text()) : std::nullopt;
}

Tokenizer Tokenizer::characters(std::vector<char32_t> code_points) {
  if (code_points.empty()) throw DataError("a vocabulary of characters needs at least one");
  if (code_points.size() > max_characters) {
    throw DataError(fmt::format("the text has {} different characters, expected at most {}; use tokens: bytes",
                                code_points.size(), max_characters));
  }
  check_invariant(
      std::adjacent_find(code_points.begin(), code_points.end(), std::greater_equal<>()) == code_points.end(),
      "characters of a vocabulary out of order");
  Tokenizer result;
  result.kind_ = Kind::characters;
  result.code_points_ = std::move(code_points);
  result.low_tokens_.assign(256, none);
  for (std::size_t i = 0; i < result.code_points_.size(); ++i) {
    const char32_t code_point = result.code_points_[i];
    if (code_point < 256) {
      result.low_tokens_[code_point] = static_cast<std::uint16_t>(i);
    } else {
      result.tokens_.emplace(code_point, static_cast<std::uint16_t>(i));
    }
  }
  return result;
}

std::optional<std::int64_t> Tokenizer::token_of(char32_t code_point) const {
  if (code_point < low_tokens_.size()) {
    // 65,536 characters and a low one at the very end cannot be: low ones come first.
    const std::uint16_t token = low_tokens_[code_point];
    return token == none ? std::nullopt : std::optional<std::int64_t>(token);
  }
  const auto found = tokens_.find(code_point);
  return found == tokens_.end() ? std::nullopt : std::optional<std::int64_t>(found->second);
}

std::int64_t Tokenizer::byte_length(std::int64_t token) const {
  const auto place = static_cast<std::size_t>(token);
  switch (kind_) {
    case Kind::bytes:
      return 1;
    case Kind::characters:
      return static_cast<std::int64_t>(utf8_length(code_points_.at(place)));
    case Kind::words:
      return static_cast<std::int64_t>(words_.at(place).size() + 1);
    case Kind::file:
      return token == file_->end_of_text() ? 0 : static_cast<std::int64_t>(file_->bytes_of(token).size());
  }
  return 0;
}

std::int64_t Tokenizer::character_count(std::int64_t token) const {
  const auto begins_character = [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; };
  switch (kind_) {
    case Kind::bytes:
      return begins_character(static_cast<char>(token)) ? 1 : 0;
    case Kind::characters:
    case Kind::words:
      return 1;
    case Kind::file:
      break;
  }
  if (token == file_->end_of_text()) return 0;
  const std::string_view text = file_->bytes_of(token);
  return std::count_if(text.begin(), text.end(), begins_character);
}

void Tokenizer::encode_words(std::string_view text, const std::string& source,
                             std::vector<std::int64_t>& tokens) const {
  for (std::size_t begin = 0; (begin = text.find_first_not_of(white_space, begin)) != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(white_space, begin), text.size());
    const std::string word(text.substr(begin, end - begin));
    const auto found = word_tokens_.find(word);
    if (found == word_tokens_.end()) {
      throw DataError(fmt::format("{}: the word '{}' at byte {} is not among the {} of the vocabulary ('{}' to '{}')",
                                  source, word, begin, size(), words_.front(), words_.back()));
    }
    tokens.push_back(found->second);
    begin = end;
  }
}

std::size_t Tokenizer::encode_characters(std::string_view text, std::size_t begin, std::size_t limit,
                                         const std::string& source, std::vector<std::int64_t>& tokens) const {
  std::size_t position = begin;
  while (position < std::min(limit, text.size())) {
    begin = position;
    const char32_t code_point = next_code_point(text, position);
    if (code_point == invalid_code_point) {
      throw DataError(
          fmt::format("{}: byte {} is not valid UTF-8; characters need UTF-8 text, tokens: bytes reads "
                      "anything",
                      source, begin));
    }
    const auto token = token_of(code_point);
    if (!token) {
      throw DataError(fmt::format(
          "{}: the character '{}' (U+{:04X}) at byte {} is not among the {} of the vocabulary, "
          "which come from the training text; tokens: bytes has no such limit",
          source, text.substr(begin, position - begin), static_cast<std::uint32_t>(code_point), begin, size()));
    }
    tokens.push_back(*token);
  }
  return position;
}

std::size_t Tokenizer::encode_part(std::string_view text, std::size_t begin, std::size_t limit,
                                   const std::string& source, std::vector<std::int64_t>& tokens) const {
  limit = std::min(limit, text.size());
  switch (kind_) {
    case Kind::bytes:
      for (; begin < limit; ++begin) tokens.push_back(static_cast<unsigned char>(text[begin]));
      return begin;
    case Kind::characters:
      return encode_characters(text, begin, limit, source, tokens);
    case Kind::words:
      encode_words(text.substr(begin), source, tokens);
      return text.size();
    case Kind::file:
      return file_->encode(text, begin, limit, source, tokens);
  }
  return text.size();
}

std::vector<std::int64_t> Tokenizer::encode(std::string_view text, const std::string& source) const {
  std::vector<std::int64_t> tokens;
  tokens.reserve(kind_ == Kind::bytes || kind_ == Kind::characters ? text.size() : text.size() / 3);
  if (!text.empty()) encode_part(text, 0, text.size(), source, tokens);
  return tokens;
}

std::string Tokenizer::decode(std::span<const std::int64_t> tokens) const {
  std::string text;
  for (const std::int64_t token : tokens) {
    if (token < 0 || token >= size()) {
      throw DataError(fmt::format("the token {} is outside the vocabulary of {}", token, size()));
    }
    const auto place = static_cast<std::size_t>(token);
    switch (kind_) {
      case Kind::bytes:
        text += static_cast<char>(token);
        break;
      case Kind::characters:
        append_utf8(text, code_points_[place]);
        break;
      case Kind::words:
        text += words_[place] + " ";
        break;
      case Kind::file:
        text += file_->bytes_of(token);
        break;
    }
  }
  return text;
}

bool Tokenizer::operator==(const Tokenizer& other) const {
  if (kind_ != other.kind_ || code_points_ != other.code_points_ || words_ != other.words_) return false;
  return kind_ != Kind::file || (file_->kind() == other.file_->kind() && file_->digest() == other.file_->digest());
}

}  // namespace rwkvlab
