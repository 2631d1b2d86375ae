// The longest of many byte strings that a text begins with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rwkvlab {

/// A trie as a double array (Aoe, "An efficient digital search algorithm by using a double-array structure", 1989): a
/// step is one addition and one comparison in one array.
class ByteTrie {
 public:
  struct Match {
    std::int32_t value = -1;  ///< -1: none of the strings
    std::size_t end = 0;      ///< place behind it
  };

  ByteTrie() = default;
  /// Strings, which must not be empty and must differ, with values from 0 up. BugError otherwise.
  explicit ByteTrie(std::vector<std::pair<std::string_view, std::int32_t>> strings);

  /// The longest string that stands at `begin` of the text.
  Match longest(std::string_view text, std::size_t begin) const {
    Match match;
    if (cells_.empty()) return match;
    std::int32_t node = 0;
    for (std::size_t place = begin; place < text.size(); ++place) {
      const std::int32_t next = cells_[static_cast<std::size_t>(node)].base + static_cast<unsigned char>(text[place]);
      const Cell& cell = cells_[static_cast<std::size_t>(next)];
      if (cell.parent != node) break;
      node = next;
      if (cell.value >= 0) match = {cell.value, place + 1};
    }
    return match;
  }

 private:
  struct Cell {
    std::int32_t base = 0;     // children of a node at base + byte
    std::int32_t parent = -1;  // cell of the node that this one is a child of; -1: free
    std::int32_t value = -1;
  };
  class Builder;
  std::vector<Cell> cells_;
};

}  // namespace rwkvlab
