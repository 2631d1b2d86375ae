// Which rows a token shift pairs: those of the sequence's order, or those of a TokenShift. Included by this folder's
// sources only.
#pragma once

#include "kernels/clones.h"
#include "kernels/sizes.h"
#include "kernels/token_grid.h"

namespace rwkvlab::kernels {

/// For kernels to copy into their loops. Rows are batch * time + t; -1 means that there is none.
struct TokenPairs {
  Index time = 0;
  const TokenShift::Group* groups = nullptr;
  Index count = 0;
  Index reach = 1;  ///< most tokens between partners

  RWKVLAB_INLINE Index source(const TokenShift::Group& group, Index row, Index t) const {
    if (group.source == nullptr) return t > 0 ? row - 1 : -1;
    const Index from = group.source[t];
    return from < 0 ? -1 : row - t + from;
  }
  RWKVLAB_INLINE Index reader(const TokenShift::Group& group, Index row, Index t) const {
    if (group.source == nullptr) return t < time - 1 ? row + 1 : -1;
    const Index by = group.reader[t];
    return by < 0 ? -1 : row - t + by;
  }
};

/// Holds the one group of a sequence, where every token is paired with the one before.
class PairsOf {
 public:
  PairsOf(const SequenceSize& size, const TokenShift* shift) : sequence_{0, size.channels, nullptr, nullptr} {
    pairs_ = {size.time, shift == nullptr ? &sequence_ : shift->groups().data(),
              shift == nullptr ? 1 : static_cast<Index>(shift->groups().size()), shift == nullptr ? 1 : shift->reach()};
  }
  PairsOf(const PairsOf&) = delete;
  PairsOf& operator=(const PairsOf&) = delete;
  const TokenPairs& operator*() const { return pairs_; }

 private:
  TokenShift::Group sequence_;
  TokenPairs pairs_;
};

}  // namespace rwkvlab::kernels
