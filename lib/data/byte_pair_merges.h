// Byte-pair encoding: which neighbours merge, and in which order.
#pragma once

#include <cstdint>
#include <vector>

namespace rwkvlab {

/// Merges by rank (Sennrich et al., arXiv:1508.07909). Fill it, then use it.
class BytePairMerges {
 public:
  /// Room for `count` merges.
  explicit BytePairMerges(std::size_t count = 0);

  /// The next merge in rank: `left` and `right` become `merged`. False when the pair has a merge already.
  bool add(std::int32_t left, std::int32_t right, std::int32_t merged);
  /// Merges neighbours in `symbols`, always the pair of lowest rank, the leftmost of equals, until none is left.
  void apply(std::vector<std::int32_t>& symbols) const;

 private:
  struct Merge {
    std::int32_t left = -1, right = -1, rank = -1, merged = -1;
  };
  std::size_t slot(std::int32_t left, std::int32_t right) const;
  // Null when the pair does not merge.
  const Merge* find(std::int32_t left, std::int32_t right) const;
  void apply_to_few(std::vector<std::int32_t>& symbols) const;
  void apply_to_many(std::vector<std::int32_t>& symbols) const;

  std::vector<Merge> table_;  // open addressing; the size is a power of two
  std::int32_t count_ = 0;
};

}  // namespace rwkvlab
