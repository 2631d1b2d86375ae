// Batched matrix products, as attention needs them.
#pragma once

#include "autograd/bfloat16_products.h"
#include "autograd/var.h"

namespace rwkvlab {

/// C[b] = op(A[b]) op(B[b]), op transposing when asked. a: [batch, m, k] (or [batch, k, m] with transpose_a); b:
/// [batch, k, n] (or [batch, n, k] with transpose_b); result [batch, m, n].
Var matmul(const Var& a, const Var& b, bool transpose_a = false, bool transpose_b = false);

struct ProductSize {
  std::int64_t m, n, k;
};

/// c [m, n] = op(a) op(b) on tensor memory of any shape with that many elements; in shape-only mode only counted. Both
/// operands are bfloat16, and c is float32, or none is. With `accumulate` the product is added to c.
void multiply_into(const ProductSize& size, const ProductOperand& a, bool transpose_a, const ProductOperand& b,
                   bool transpose_b, const Tensor& c, bool accumulate = false);

}  // namespace rwkvlab
