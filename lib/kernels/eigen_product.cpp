#include "kernels/eigen_product.h"

#include <Eigen/Core>

namespace rwkvlab::kernels {

void eigen_product(const SerialProduct& product, const double* a, const double* b, double* c) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Input = Eigen::Map<const Matrix, 0, Eigen::OuterStride<>>;
  const Index m = product.m, n = product.n, k = product.k;
  const Input left(a, product.transpose_a ? k : m, product.transpose_a ? m : k, Eigen::OuterStride<>(product.lda));
  const Input right(b, product.transpose_b ? n : k, product.transpose_b ? k : n, Eigen::OuterStride<>(product.ldb));
  Eigen::Map<Matrix, 0, Eigen::OuterStride<>> out(c, m, n, Eigen::OuterStride<>(product.ldc));
  if (!product.accumulate) out.setZero();
  if (product.transpose_a && product.transpose_b) {
    out.noalias() += left.transpose() * right.transpose();
  } else if (product.transpose_a) {
    out.noalias() += left.transpose() * right;
  } else if (product.transpose_b) {
    out.noalias() += left * right.transpose();
  } else {
    out.noalias() += left * right;
  }
}

}  // namespace rwkvlab::kernels
