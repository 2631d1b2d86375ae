#include "data/word_pattern.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <new>

#include "base/error.h"
#include "data/utf8.h"

namespace rwkvlab {
namespace {

enum class Class { letter, number, space, other, none };

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

Class slow_class_of(char32_t c) {
  if (is_white_space(c)) return Class::space;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return Class::letter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return Class::number;
    default:
      return Class::other;
  }
}

// Class of the character at `place`, which moves behind it; `none` at the end and for what is not UTF-8.
Class next_class(std::string_view text, std::size_t& place) {
  static const std::array<Class, 128> ascii = [] {
    std::array<Class, 128> classes;
    for (std::size_t c = 0; c < classes.size(); ++c) classes[c] = slow_class_of(static_cast<char32_t>(c));
    return classes;
  }();
  if (place >= text.size()) return Class::none;
  const auto first = static_cast<unsigned char>(text[place]);
  if (first < 0x80) {
    ++place;
    return ascii[first];
  }
  const char32_t c = next_code_point(text, place);
  return c == invalid_code_point ? Class::none : slow_class_of(c);
}

// End of the run of characters of one class that goes on at `place`.
std::size_t run_end(std::string_view text, std::size_t place, Class of) {
  for (std::size_t next = place; next_class(text, next) == of;) place = next;
  return place;
}

std::size_t contraction_end(std::string_view text, std::size_t begin) {
  const std::string_view rest = text.substr(begin, 3);
  for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (rest.starts_with(ending)) return begin + ending.size();
  }
  return begin;
}

// All white space at the end of the text; elsewhere the last character is left to the word behind.
std::size_t space_end(std::string_view text, std::size_t begin) {
  std::size_t end = begin, last = begin;
  for (std::size_t next = begin; next_class(text, next) == Class::space;) {
    last = end;
    end = next;
  }
  return end == text.size() || last == begin ? end : last;
}

}  // namespace

std::size_t word_end(std::string_view text, std::size_t begin) {
  if (text[begin] == '\'') {
    if (const std::size_t end = contraction_end(text, begin); end != begin) return end;
  }
  std::size_t place = begin;
  Class first = next_class(text, place);
  if (text[begin] == ' ') {
    std::size_t behind = place;
    const Class next = next_class(text, behind);
    if (next != Class::space && next != Class::none) {
      first = next;
      place = behind;
    }
  }
  if (first == Class::none) return begin + 1;
  return first == Class::space ? space_end(text, begin) : run_end(text, place, first);
}

std::string normal_form_c(std::string_view text) {
  // Below U+0300, whose first byte is 0xCC, nothing composes and nothing is reordered.
  const auto is_simple = [](char c) { return static_cast<unsigned char>(c) < 0xCC; };
  if (std::all_of(text.begin(), text.end(), is_simple)) return std::string(text);
  utf8proc_uint8_t* result = nullptr;
  const auto* const bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const utf8proc_ssize_t length = utf8proc_map(bytes, static_cast<utf8proc_ssize_t>(text.size()), &result,
                                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
  if (length == UTF8PROC_ERROR_NOMEM) throw std::bad_alloc();
  check_invariant(length >= 0, "a text that is not UTF-8 was to be normalised");
  return {reinterpret_cast<const char*>(result), static_cast<std::size_t>(length)};
}

}  // namespace rwkvlab
