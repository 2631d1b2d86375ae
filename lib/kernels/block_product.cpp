#include "kernels/block_product.h"

#include <algorithm>

#include "kernels/eigen_product.h"
#include "kernels/simd.h"

namespace rwkvlab::kernels {
namespace {

void multiply_row(const SerialProduct& product, const float* a, const float* b, float* c) {
  const Index n = product.n, k = product.k, step_a = product.transpose_a ? product.lda : 1, ldb = product.ldb;
  if (!product.accumulate) std::fill_n(c, n, 0.0F);
  if (product.transpose_b) {
    const auto dots = [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
      for (Index j = begin; j < end; ++j) {
        const float* row = b + j * ldb;
        c[j] += lane_sum<float>(0, k, [=](Index i) RWKVLAB_INLINE_LAMBDA { return a[i * step_a] * row[i]; });
      }
    };
    run_cloned(dots, 0, n);
    return;
  }
  const auto sums = [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index i = 0; i < k; ++i) {
      const float factor = a[i * step_a];
#pragma omp simd
      for (Index j = begin; j < end; ++j) c[j] += factor * b[i * ldb + j];
    }
  };
  run_cloned(sums, 0, n);
}

}  // namespace

void block_product(const SerialProduct& product, const float* a, const float* b, float* c) {
  if (product.m == 1) {
    multiply_row(product, a, b, c);
  } else {
    run_serial_product(product, a, b, c);
  }
}

void block_product(const SerialProduct& product, const double* a, const double* b, double* c) {
  eigen_product(product, a, b, c);
}

}  // namespace rwkvlab::kernels
