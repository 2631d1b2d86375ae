// How GPT-2 cuts a text into words before it merges bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rwkvlab {

/// End of the word that begins at `begin` of a UTF-8 text, by the pattern of GPT-2
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. Letters and numbers are Unicode's
/// categories L and N, white space is its property White_Space. A byte that is not UTF-8 is a word of its own.
std::size_t word_end(std::string_view text, std::size_t begin);

/// The text in Unicode's normal form C. It must be UTF-8.
std::string normal_form_c(std::string_view text);

}  // namespace rwkvlab
