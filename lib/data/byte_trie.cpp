#include "data/byte_trie.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace rwkvlab {

using Strings = std::vector<std::pair<std::string_view, std::int32_t>>;

// Places nodes from the root on, level by level: the widest come first, when there is most room.
class ByteTrie::Builder {
 public:
  explicit Builder(const Strings& strings) : strings_(strings) { grow(2 * byte_values); }

  std::vector<Cell> build() {
    cells_[0].parent = root_parent;
    std::vector<Node> level = {{0, 0, strings_.size()}}, next;
    for (std::size_t depth = 0; !level.empty(); ++depth) {
      next.clear();
      for (const Node& node : level) add_children(node, depth, next);
      std::swap(level, next);
    }
    // No string begins with the parent of the root, and a leaf's children would have to name it.
    return std::move(cells_);
  }

 private:
  static constexpr std::size_t byte_values = 256;
  static constexpr std::int32_t root_parent = std::numeric_limits<std::int32_t>::min();
  // After so many refusals, later searches for a wide gap begin further on.
  static constexpr std::size_t patience = 256;

  struct Node {
    std::int32_t cell;
    std::size_t first, last;  // strings that begin with it
  };

  void grow(std::size_t size) { cells_.resize(std::max(cells_.size(), size)); }
  bool is_free(std::size_t cell) const { return cells_[cell].parent == -1; }

  void add_children(const Node& node, std::size_t depth, std::vector<Node>& next) {
    std::size_t first = node.first;
    // Sorted: a string that ends here is the first one.
    if (strings_[first].first.size() == depth)
      cells_[static_cast<std::size_t>(node.cell)].value = strings_[first++].second;
    std::vector<std::pair<unsigned char, std::size_t>> children;  // byte, first string
    for (std::size_t i = first; i < node.last; ++i) {
      const auto byte = static_cast<unsigned char>(strings_[i].first[depth]);
      if (children.empty() || children.back().first != byte) children.emplace_back(byte, i);
    }
    if (children.empty()) return;
    const std::size_t base = place_for(children);
    cells_[static_cast<std::size_t>(node.cell)].base = static_cast<std::int32_t>(base);
    for (std::size_t i = 0; i < children.size(); ++i) {
      const std::size_t cell = base + children[i].first;
      cells_[cell].parent = node.cell;
      next.push_back({static_cast<std::int32_t>(cell), children[i].second,
                      i + 1 < children.size() ? children[i + 1].second : node.last});
    }
  }

  // The first cell at or after `from` where all children find room, given as their base.
  std::size_t place_for(const std::vector<std::pair<unsigned char, std::size_t>>& children) {
    std::size_t& from = children.size() == 1 ? single_ : wide_;
    const unsigned char lowest = children.front().first;
    std::size_t refusals = 0;
    for (std::size_t cell = from;; ++cell) {
      grow(cell + 2 * byte_values);
      if (!is_free(cell)) {
        if (cell == from) ++from;
        continue;
      }
      if (cell < lowest) continue;
      const std::size_t base = cell - lowest;
      if (std::all_of(children.begin(), children.end(),
                      [&](const auto& child) { return is_free(base + child.first); })) {
        return base;
      }
      if (++refusals == patience) from = cell;
    }
  }

  const Strings& strings_;
  std::vector<Cell> cells_;
  std::size_t single_ = 1, wide_ = 1;  // where searches begin
};

ByteTrie::ByteTrie(Strings strings) {
  std::sort(strings.begin(), strings.end());
  for (std::size_t i = 0; i < strings.size(); ++i) {
    check_invariant(!strings[i].first.empty() && strings[i].second >= 0, "an empty string in a trie");
    check_invariant(i == 0 || strings[i - 1].first != strings[i].first, "a string twice in a trie");
  }
  if (!strings.empty()) cells_ = Builder(strings).build();
}

}  // namespace rwkvlab
