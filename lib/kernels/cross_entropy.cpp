#include "kernels/cross_entropy.h"

#include <cmath>
#include <limits>

#include "kernels/simd.h"
#include "kernels/vector_math.h"

namespace rwkvlab::kernels {
namespace {

template <class Real>
RWKVLAB_INLINE Real row_max(const Real* logits, Index classes) {
  return lane_max(Index(0), classes, -std::numeric_limits<Real>::infinity(),
                  [=](Index c) RWKVLAB_INLINE_LAMBDA { return logits[c]; });
}

/// The first index whose logit equals `max`; 0 when there is none (a row of NaN).
template <class Real>
RWKVLAB_INLINE Index first_equal(const Real* logits, Index classes, Real max) {
  constexpr int none = std::numeric_limits<int>::min();
  const int negated = lane_max(Index(0), classes, none, [=](Index c) RWKVLAB_INLINE_LAMBDA {
    return logits[c] == max ? -static_cast<int>(c) : none;
  });
  return negated == none ? 0 : -negated;
}

/// The loss of one row, as in cross_entropy_forward.
template <class Real>
RWKVLAB_INLINE void row_loss(const Real* logits, Index classes, std::int64_t target, Real* loss, Real* log_normaliser) {
  const Real max = row_max(logits, classes);
  const Real total =
      lane_sum<Real>(0, classes, [=](Index c) RWKVLAB_INLINE_LAMBDA { return vector_exp(logits[c] - max); });
  const Real log_total = std::log(total);
  *log_normaliser = max + log_total;
  // The difference of logits first: it is small when the loss is, and then nothing is lost.
  *loss = target == ignored_target ? Real(0) : log_total + (max - logits[target]);
}

/// The gradient of one row, as in cross_entropy_backward; `wrap` is l2wrap_factor / rows.
template <class Real>
RWKVLAB_INLINE void row_gradient(const Real* logits, Index classes, std::int64_t target, Real normaliser, Real factor,
                                 Real wrap, Real* grad) {
  const bool counted = target != ignored_target;
  Index largest = 0;
  Real max = 0;
  if (wrap != 0) {  // Before the gradient, which may overwrite the logits.
    max = row_max(logits, classes);
    largest = first_equal(logits, classes, max);
  }
  const Real row_factor = counted ? factor : Real(0);
#pragma omp simd
  for (Index c = 0; c < classes; ++c) grad[c] = row_factor * vector_exp(logits[c] - normaliser);
  if (counted) grad[target] -= factor;
  if (wrap != 0) grad[largest] += max * wrap;
}

}  // namespace

template <class Real>
CrossEntropyResult cross_entropy_mean(Index rows, const std::int64_t* targets, const Real* row_losses) {
  CrossEntropyResult result;
  double total = 0;
  for (Index row = 0; row < rows; ++row) {
    if (targets[row] == ignored_target) continue;
    total += static_cast<double>(row_losses[row]);
    ++result.counted;
  }
  if (result.counted > 0) result.mean = total / static_cast<double>(result.counted);
  return result;
}

template <class Real>
CrossEntropyResult cross_entropy_forward(const RowsSize& size, const Real* logits, const std::int64_t* targets,
                                         Real* row_losses, Real* log_normaliser) {
  const Index classes = size.channels;
  parallel_simd(size.rows, row_grain(classes), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      row_loss(logits + row * classes, classes, targets[row], row_losses + row, log_normaliser + row);
    }
  });
  return cross_entropy_mean(size.rows, targets, row_losses);
}

template <class Real>
void cross_entropy_backward(const RowsSize& size, const Real* logits, const std::int64_t* targets,
                            const Real* log_normaliser, double factor, double l2wrap_factor, Real* grad_logits) {
  const Index classes = size.channels;
  const Real counted_factor = static_cast<Real>(factor);
  const Real wrap = static_cast<Real>(l2wrap_factor / static_cast<double>(size.rows));
  parallel_simd(size.rows, row_grain(classes), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      row_gradient(logits + row * classes, classes, targets[row], log_normaliser[row], counted_factor, wrap,
                   grad_logits + row * classes);
    }
  });
}

template <class Real>
void cross_entropy_in_place(const RowsSize& size, const std::int64_t* targets, double factor, double wrap, Real* logits,
                            Real* row_losses) {
  const Index classes = size.channels;
  const Real counted_factor = static_cast<Real>(factor), row_wrap = static_cast<Real>(wrap);
  parallel_simd(size.rows, row_grain(classes), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      Real* const at = logits + row * classes;
      Real normaliser;
      row_loss(at, classes, targets[row], row_losses + row, &normaliser);
      row_gradient(at, classes, targets[row], normaliser, counted_factor, row_wrap, at);
    }
  });
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Real)                                                                                    \
  template CrossEntropyResult cross_entropy_forward<Real>(const RowsSize&, const Real*, const std::int64_t*, Real*,  \
                                                          Real*);                                                    \
  template CrossEntropyResult cross_entropy_mean<Real>(Index, const std::int64_t*, const Real*);                     \
  template void cross_entropy_in_place<Real>(const RowsSize&, const std::int64_t*, double, double, Real*, Real*);    \
  template void cross_entropy_backward<Real>(const RowsSize&, const Real*, const std::int64_t*, const Real*, double, \
                                             double, Real*);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)

}  // namespace rwkvlab::kernels
