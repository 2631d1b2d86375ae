#include "kernels/image_losses.h"

#include <algorithm>
#include <cmath>

#include "kernels/simd.h"

namespace rwkvlab::kernels {
namespace {

// Of one row: its largest logit and the sum of e^{z - largest}.
template <class Real>
struct RowSums {
  Real largest;
  double exponentials = 0;
  RowSums(const Real* row, Index classes) : largest(*std::max_element(row, row + classes)) {
    for (Index c = 0; c < classes; ++c) exponentials += std::exp(static_cast<double>(row[c] - largest));
  }
};

}  // namespace

template <class Real>
void soft_cross_entropy_forward(const RowsSize& size, const Real* logits, const Real* targets, Real* row_losses) {
  const Index classes = size.channels;
  parallel_for(size.rows, row_grain(8 * classes), [=](Index begin, Index end) {
    for (Index row = begin; row < end; ++row) {
      const Real* const z = logits + row * classes;
      const Real* const q = targets + row * classes;
      const RowSums<Real> sums(z, classes);
      const double log_sum = static_cast<double>(sums.largest) + std::log(sums.exponentials);
      double loss = 0;
      for (Index c = 0; c < classes; ++c) loss += static_cast<double>(q[c]) * (log_sum - static_cast<double>(z[c]));
      row_losses[row] = static_cast<Real>(loss);
    }
  });
}

template <class Real>
void soft_cross_entropy_backward(const RowsSize& size, const Real* logits, const Real* targets, double factor,
                                 Real* grad_logits) {
  const Index classes = size.channels;
  parallel_for(size.rows, row_grain(8 * classes), [=](Index begin, Index end) {
    for (Index row = begin; row < end; ++row) {
      const Real* const z = logits + row * classes;
      const Real* const q = targets + row * classes;
      Real* const grad = grad_logits + row * classes;
      const RowSums<Real> sums(z, classes);
      double mass = 0;
      for (Index c = 0; c < classes; ++c) mass += static_cast<double>(q[c]);
      const double share = mass / sums.exponentials;
      for (Index c = 0; c < classes; ++c) {
        const double softmax = share * std::exp(static_cast<double>(z[c] - sums.largest));
        grad[c] = static_cast<Real>(factor * (softmax - static_cast<double>(q[c])));
      }
    }
  });
}

template <class Real>
void squared_error_forward(const RowsSize& size, const Real* prediction, const Real* target, Real* row_losses) {
  const Index channels = size.channels;
  parallel_simd(size.rows, row_grain(channels), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      const Real* const p = prediction + row * channels;
      const Real* const t = target + row * channels;
      row_losses[row] = lane_sum<Real>(0, channels, [=](Index c) { return (p[c] - t[c]) * (p[c] - t[c]); }) /
                        static_cast<Real>(channels);
    }
  });
}

template <class Real>
void squared_error_backward(const RowsSize& size, const Real* prediction, const Real* target, const Real* row_factors,
                            Real* grad) {
  const Index channels = size.channels;
  parallel_simd(size.rows, row_grain(channels), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      const Real factor = row_factors[row] * (Real(2) / static_cast<Real>(channels));
#pragma omp simd
      for (Index i = row * channels; i < (row + 1) * channels; ++i) grad[i] = factor * (prediction[i] - target[i]);
    }
  });
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Real)                                                                      \
  template void soft_cross_entropy_forward(const RowsSize&, const Real*, const Real*, Real*);          \
  template void soft_cross_entropy_backward(const RowsSize&, const Real*, const Real*, double, Real*); \
  template void squared_error_forward(const RowsSize&, const Real*, const Real*, Real*);               \
  template void squared_error_backward(const RowsSize&, const Real*, const Real*, const Real*, Real*);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)
#undef RWKVLAB_INSTANTIATE

}  // namespace rwkvlab::kernels
