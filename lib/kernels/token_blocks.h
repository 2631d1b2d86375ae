// Kernels that do several steps to a block of tokens before the next, so that what lies between stays in the cache:
// what their blocks are, and products within them. Included by this folder's sources only.
#pragma once

#include "kernels/eigen_product.h"
#include "kernels/onednn.h"
#include "kernels/parallel.h"

namespace rwkvlab::kernels {

/// Tokens of a block: as many as batched_matmul gives a piece, or half of them, while there are enough blocks to keep
/// several threads busy; 0: there are not.
inline Index tokens_of_block(Index tokens) {
  constexpr Index enough_blocks = 8;
  for (const Index block : {256, 128}) {
    if (piece_count(tokens, block) >= enough_blocks) return block;
  }
  return 0;
}

/// The product on this thread, whatever the type of its operands.
template <class Element>
void serial_product(const SerialProduct& product, const Element* a, const Element* b, float* c) {
  run_serial_product(product, a, b, c);
}
inline void serial_product(const SerialProduct& product, const double* a, const double* b, double* c) {
  eigen_product(product, a, b, c);
}

}  // namespace rwkvlab::kernels
