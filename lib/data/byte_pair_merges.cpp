#include "data/byte_pair_merges.h"

#include <bit>
#include <queue>
#include <tuple>

#include "base/error.h"

namespace rwkvlab {

BytePairMerges::BytePairMerges(std::size_t count) : table_(std::bit_ceil(2 * count + 2)) {}

std::size_t BytePairMerges::slot(std::int32_t left, std::int32_t right) const {
  const std::uint64_t key = static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
  std::size_t at = static_cast<std::size_t>((key * 0x9E3779B97F4A7C15u) >> 32) & (table_.size() - 1);
  while (table_[at].rank >= 0 && (table_[at].left != left || table_[at].right != right))
    at = (at + 1) & (table_.size() - 1);
  return at;
}

const BytePairMerges::Merge* BytePairMerges::find(std::int32_t left, std::int32_t right) const {
  const Merge& merge = table_[slot(left, right)];
  return merge.rank >= 0 ? &merge : nullptr;
}

bool BytePairMerges::add(std::int32_t left, std::int32_t right, std::int32_t merged) {
  check_invariant(2 * static_cast<std::size_t>(count_) + 2 <= table_.size(), "more merges than there is room for");
  Merge& merge = table_[slot(left, right)];
  if (merge.rank >= 0) return false;
  merge = {left, right, count_++, merged};
  return true;
}

void BytePairMerges::apply(std::vector<std::int32_t>& symbols) const {
  // Looking at every pair again beats a queue for words of ordinary length.
  constexpr std::size_t few = 24;
  return symbols.size() <= few ? apply_to_few(symbols) : apply_to_many(symbols);
}

void BytePairMerges::apply_to_few(std::vector<std::int32_t>& symbols) const {
  for (;;) {
    const Merge* best = nullptr;
    std::size_t place = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const Merge* const merge = find(symbols[i], symbols[i + 1]);
      if (merge == nullptr || (best != nullptr && merge->rank >= best->rank)) continue;
      best = merge;
      place = i;
    }
    if (best == nullptr) return;
    symbols[place] = best->merged;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  }
}

void BytePairMerges::apply_to_many(std::vector<std::int32_t>& symbols) const {
  // A list through the symbols, and a queue of the pairs that merge, some of which are gone when their turn comes.
  constexpr std::size_t nothing = static_cast<std::size_t>(-1);
  struct Links {
    std::size_t before, behind;
  };
  using Candidate = std::tuple<std::int32_t, std::size_t, const Merge*>;  // rank, place
  std::vector<Links> links(symbols.size());
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto consider = [&](std::size_t place) {
    const std::size_t behind = place == nothing ? nothing : links[place].behind;
    if (behind == nothing) return;
    const Merge* const merge = find(symbols[place], symbols[behind]);
    if (merge != nullptr) queue.emplace(merge->rank, place, merge);
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    links[i] = {i == 0 ? nothing : i - 1, i + 1 < symbols.size() ? i + 1 : nothing};
  }
  for (std::size_t i = 0; i < symbols.size(); ++i) consider(i);
  while (!queue.empty()) {
    const auto [rank, place, merge] = queue.top();
    queue.pop();
    const std::size_t behind = links[place].behind;
    if (symbols[place] != merge->left || behind == nothing || symbols[behind] != merge->right) continue;
    symbols[place] = merge->merged;
    symbols[behind] = -1;
    links[place].behind = links[behind].behind;
    if (links[behind].behind != nothing) links[links[behind].behind].before = place;
    consider(links[place].before);
    consider(place);
  }
  std::erase(symbols, -1);
}

}  // namespace rwkvlab
