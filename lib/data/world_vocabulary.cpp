#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "base/error.h"
#include "base/sha256.h"
#include "data/byte_trie.h"
#include "data/file_vocabulary.h"
#include "data/utf8.h"

namespace rwkvlab {

FileVocabulary::FileVocabulary(std::string content) : content_(std::move(content)), digest_(sha256(content_)) {}

namespace {

constexpr std::int64_t most_tokens = 1 << 20;

// A Python literal, str or bytes, as bytes.
class Literal {
 public:
  explicit Literal(std::string_view text) : text_(text) {}

  // Empty when it is one; otherwise what is wrong.
  std::string read(std::string& bytes) {
    is_bytes_ = text_.starts_with('b');
    if (is_bytes_) text_.remove_prefix(1);
    if (text_.size() < 2 || (text_.front() != '\'' && text_.front() != '"') || text_.back() != text_.front()) {
      return "expected a text in quotes, such as 'a' or b'\\xff'";
    }
    const char quote = text_.front();
    const std::string_view body = text_.substr(1, text_.size() - 2);
    for (place_ = 0; place_ < body.size();) {
      if (body[place_] == quote) return "a quote inside the text is not escaped";
      if (body[place_] != '\\') {
        if (const std::string problem = plain(body, bytes); !problem.empty()) return problem;
        continue;
      }
      if (!escape(body, bytes)) return fmt::format("an escape that is not understood, at byte {} of the text", place_);
    }
    return "";
  }

 private:
  std::string plain(std::string_view body, std::string& bytes) {
    const std::size_t begin = place_;
    if (static_cast<unsigned char>(body[begin]) < 0x80) {
      bytes += body[place_++];
      return "";
    }
    if (is_bytes_) return "a b'' text holds a character that is not ASCII";
    if (next_code_point(body, place_) == invalid_code_point) return "the text is not UTF-8";
    bytes += body.substr(begin, place_ - begin);
    return "";
  }

  bool escape(std::string_view body, std::string& bytes) {
    static constexpr std::string_view letters = "\\'\"abfnrtv", meanings = "\\'\"\a\b\f\n\r\t\v";
    if (place_ + 1 >= body.size()) return false;
    const char letter = body[place_ + 1];
    if (const std::size_t found = letters.find(letter); found != std::string_view::npos) {
      bytes += meanings[found];
      place_ += 2;
      return true;
    }
    const std::size_t digits = letter == 'x'                 ? 2
                               : letter == 'u' && !is_bytes_ ? 4
                               : letter == 'U' && !is_bytes_ ? 8
                                                             : 0;
    if (digits == 0 || place_ + 2 + digits > body.size()) return false;
    const char* const begin = body.data() + place_ + 2;
    std::uint32_t code_point = 0;
    const auto [end, error] = std::from_chars(begin, begin + digits, code_point, 16);
    if (error != std::errc() || end != begin + digits) return false;
    if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF)) return false;
    if (is_bytes_) {
      bytes += static_cast<char>(code_point);
    } else {
      append_utf8(bytes, code_point);
    }
    place_ += 2 + digits;
    return true;
  }

  std::string_view text_;
  std::size_t place_ = 0;
  bool is_bytes_ = false;
};

// A whole number and nothing else; -1 for what is none.
std::int64_t number(std::string_view text) {
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : -1;
}

class WorldVocabulary final : public FileVocabulary {
 public:
  WorldVocabulary(std::string content, const std::string& file) : FileVocabulary(std::move(content)), file_(file) {
    read_lines();
    check_complete();
    std::vector<std::pair<std::string_view, std::int32_t>> strings;
    for (std::size_t id = 1; id < texts_.size(); ++id) strings.emplace_back(texts_[id], static_cast<std::int32_t>(id));
    trie_ = ByteTrie(std::move(strings));
    texts_.resize((texts_.size() + 7) / 8 * 8);
  }

  std::string_view kind() const override { return "world"; }

  std::size_t encode(std::string_view text, std::size_t begin, std::size_t limit, const std::string&,
                     std::vector<std::int64_t>& tokens) const override {
    limit = std::min(limit, text.size());
    while (begin < limit) {
      const ByteTrie::Match match = trie_.longest(text, begin);
      tokens.push_back(match.value);
      begin = match.end;
    }
    return begin;
  }

 private:
  [[noreturn]] void fail(std::size_t line, std::string_view what) const {
    throw DataError(
        fmt::format("'{}', line {}: {}; a World vocabulary has lines like \"261 '\\n\\n' 2\"", file_, line, what));
  }

  void read_lines() {
    texts_.emplace_back();  // Id 0.
    std::string_view rest = content();
    for (std::size_t line = 1; !rest.empty(); ++line) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      std::string_view text = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (text.ends_with('\r')) text.remove_suffix(1);
      read_line(text, line);
    }
  }

  void read_line(std::string_view line, std::size_t place) {
    const std::size_t first = line.find(' '), last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) fail(place, "expected an id, a text and a length");
    const std::int64_t id = number(line.substr(0, first)), length = number(line.substr(last + 1));
    if (id < 1 || id > most_tokens) fail(place, fmt::format("expected an id from 1 to {}", most_tokens));
    if (length < 1) fail(place, "expected the number of bytes behind the last space");
    std::string bytes;
    if (const std::string problem = Literal(line.substr(first + 1, last - first - 1)).read(bytes); !problem.empty()) {
      fail(place, problem);
    }
    if (static_cast<std::int64_t>(bytes.size()) != length) {
      fail(place, fmt::format("the token has {} bytes, its length says {}", bytes.size(), length));
    }
    if (static_cast<std::size_t>(id) >= texts_.size()) texts_.resize(static_cast<std::size_t>(id) + 1);
    std::string& text = texts_[static_cast<std::size_t>(id)];
    if (!text.empty()) fail(place, fmt::format("the id {} stands in an earlier line already", id));
    text = std::move(bytes);
  }

  // No gaps, no token twice, every byte a token.
  void check_complete() const {
    const auto refuse = [&](const std::string& what) {
      throw DataError(fmt::format("'{}' is no World vocabulary: {}", file_, what));
    };
    std::unordered_map<std::string_view, std::size_t> ids;
    for (std::size_t id = 1; id < texts_.size(); ++id) {
      if (texts_[id].empty()) refuse(fmt::format("there is no token {}, but one of {}", id, texts_.size() - 1));
      const auto [known, is_new] = ids.emplace(texts_[id], id);
      if (!is_new) refuse(fmt::format("the tokens {} and {} are the same", known->second, id));
    }
    for (int byte = 0; byte < 256; ++byte) {
      const auto text = static_cast<char>(byte);
      if (!ids.contains({&text, 1})) refuse(fmt::format("the byte {:#04x} is no token", byte));
    }
  }

  std::string file_;
  ByteTrie trie_;
};

}  // namespace

std::shared_ptr<const FileVocabulary> parse_world_vocabulary(std::string content, const std::string& file) {
  return std::make_shared<const WorldVocabulary>(std::move(content), file);
}

}  // namespace rwkvlab
