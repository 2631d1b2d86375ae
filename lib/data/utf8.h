// Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rwkvlab {

inline constexpr char32_t invalid_code_point = 0xFFFFFFFF;

/// The character that begins at `position` (which must be inside) and moves `position` behind it; for invalid bytes
/// returns invalid_code_point and leaves `position`.
char32_t next_code_point(std::string_view text, std::size_t& position);
/// Appends the bytes of a character.
void append_utf8(std::string& text, char32_t code_point);
/// Number of bytes of a character.
std::size_t utf8_length(char32_t code_point);

/// The text with every invalid sequence replaced by one U+FFFD: the longest beginning of a well-formed sequence, at
/// least one byte (Unicode 15, section 3.9, "substitution of maximal subparts"; Python's errors="replace" does the
/// same). With `rest`, a character that is cut off at the end is left there instead of being replaced.
std::string replace_invalid_utf8(std::string_view bytes, std::string* rest = nullptr);

}  // namespace rwkvlab
