// The wall around oneDNN: nothing else includes it.
#pragma once

#include "kernels/bfloat16.h"
#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// One product on the calling thread alone: C [m, n] = op(A) op(B), or += with `accumulate`; C is float. Leading
/// dimensions are the distances between stored rows: A is [m, k] rows, or [k, m] rows when transposed, and so on.
struct SerialProduct {
  Index m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;
  Index lda = 0, ldb = 0, ldc = 0;
  bool bfloat16 = false;  ///< A and B are; else float
  bool operator==(const SerialProduct&) const = default;
};

/// One product of matrices without gaps.
inline SerialProduct gapless_product(Index m, Index n, Index k, bool transpose_a, bool transpose_b) {
  return {.m = m,
          .n = n,
          .k = k,
          .transpose_a = transpose_a,
          .transpose_b = transpose_b,
          .lda = transpose_a ? m : k,
          .ldb = transpose_b ? k : n,
          .ldc = n};
}

/// Computes it with a primitive that this thread keeps for the next call of the same shape. Throws BugError when oneDNN
/// refuses.
void run_serial_product(const SerialProduct& product, const float* a, const float* b, float* c);
void run_serial_product(const SerialProduct& product, const Bfloat16* a, const Bfloat16* b, float* c);

/// The same, threaded as oneDNN itself sees fit. The bits may depend on the number of threads: for comparisons of
/// speed.
void run_product_as_onednn_would(const SerialProduct& product, const float* a, const float* b, float* c);
void run_product_as_onednn_would(const SerialProduct& product, const Bfloat16* a, const Bfloat16* b, float* c);

}  // namespace rwkvlab::kernels
