// How wide a text is in letters.
#pragma once

#include <cstddef>
#include <string_view>

namespace rwkvlab {

/// Columns that a terminal needs for a UTF-8 text: two for wide East Asian characters, none for combining marks.
std::size_t display_width(std::string_view text);

}  // namespace rwkvlab
