#include "data/utf8.h"

#include <algorithm>

namespace rwkvlab {

std::size_t utf8_length(char32_t code_point) {
  return code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
}

char32_t next_code_point(std::string_view text, std::size_t& position) {
  const auto first = static_cast<unsigned char>(text[position]);
  if (first < 0x80) {
    ++position;
    return first;
  }
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() - position < length) return invalid_code_point;
  char32_t code_point = first & (0xFFu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(text[position + i]);
    if ((byte & 0xC0) != 0x80) return invalid_code_point;
    code_point = (code_point << 6) | (byte & 0x3F);
  }
  const bool is_surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
  if (is_surrogate || code_point > 0x10FFFF || utf8_length(code_point) != length) return invalid_code_point;
  position += length;
  return code_point;
}

void append_utf8(std::string& text, char32_t code_point) {
  const std::size_t length = utf8_length(code_point);
  if (length == 1) {
    text += static_cast<char>(code_point);
    return;
  }
  text += static_cast<char>((0xF00u >> length) | (code_point >> (6 * (length - 1))));
  for (std::size_t i = length - 1; i-- > 0;) text += static_cast<char>(0x80 | ((code_point >> (6 * i)) & 0x3F));
}

namespace {

// Bytes of the character that `first` begins; 0 when it begins none.
std::size_t length_by_first(unsigned char first) {
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  return first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
}

// Whether `second` may follow `first`: no overlong forms, no surrogates, nothing above U+10FFFF.
bool may_follow(unsigned char first, unsigned char second) {
  const unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  return second >= low && second <= high;
}

// How many bytes of a well-formed sequence stand at the start, and how many there should be.
struct Beginning {
  std::size_t good, whole;
};

Beginning beginning_of(std::string_view bytes) {
  const auto first = static_cast<unsigned char>(bytes.front());
  const std::size_t whole = length_by_first(first);
  std::size_t good = whole == 0 ? 0 : 1;
  while (good > 0 && good < std::min(whole, bytes.size())) {
    const auto next = static_cast<unsigned char>(bytes[good]);
    if (good == 1 ? !may_follow(first, next) : (next & 0xC0) != 0x80) break;
    ++good;
  }
  return {good, whole};
}

}  // namespace

std::string replace_invalid_utf8(std::string_view bytes, std::string* rest) {
  std::string text;
  if (rest != nullptr) rest->clear();
  while (!bytes.empty()) {
    const auto [good, whole] = beginning_of(bytes);
    if (whole > 0 && good == whole) {
      text += bytes.substr(0, whole);
      bytes.remove_prefix(whole);
      continue;
    }
    if (rest != nullptr && whole > 0 && good == bytes.size()) {
      rest->assign(bytes);
      break;
    }
    append_utf8(text, 0xFFFD);
    bytes.remove_prefix(std::max<std::size_t>(good, 1));
  }
  return text;
}

}  // namespace rwkvlab
