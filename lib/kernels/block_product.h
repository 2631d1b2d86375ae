// Products of the blocks that a kernel works on, inside one of its pieces.
#pragma once

#include "kernels/onednn.h"

namespace rwkvlab::kernels {

/// C [m, n] = op(A) op(B), or += with `accumulate`, on the calling thread: float through oneDNN (one row, as in
/// generation, by plain loops, because its shape would be a new one with every token), double through Eigen. Recorders
/// of products are not told; see note_matmul.
void block_product(const SerialProduct& product, const float* a, const float* b, float* c);
void block_product(const SerialProduct& product, const double* a, const double* b, double* c);

}  // namespace rwkvlab::kernels
