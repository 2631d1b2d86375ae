#include "kernels/columns.h"

#include "kernels/simd.h"

namespace rwkvlab::kernels {

template <class Real>
void copy_columns(Index rows, Index width, const Real* from, Index from_stride, Real* to, Index to_stride) {
  parallel_simd(rows, row_grain(width), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      const Real* const source = from + row * from_stride;
      Real* const target = to + row * to_stride;
#pragma omp simd
      for (Index c = 0; c < width; ++c) target[c] = source[c];
    }
  });
}

template <class Real>
void fill_column(Index rows, Real value, Real* to, Index stride) {
  for (Index row = 0; row < rows; ++row) to[row * stride] = value;
}

template <class Real>
void repeat_blocks_forward(Index blocks, Index width, Index count, const Real* from, Real* to) {
  parallel_simd(blocks, row_grain(width * count), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin * count; row < end * count; ++row) {
      const Real* const source = from + row / count * width;
      Real* const target = to + row * width;
#pragma omp simd
      for (Index c = 0; c < width; ++c) target[c] = source[c];
    }
  });
}

template <class Real>
void repeat_blocks_backward(Index blocks, Index width, Index count, const Real* grad_to, Real* grad_from) {
  parallel_simd(blocks, row_grain(width * count), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index block = begin; block < end; ++block) {
      Real* const sum = grad_from + block * width;
      for (Index c = 0; c < width; ++c) sum[c] = 0;
      for (Index i = 0; i < count; ++i) {
        const Real* const grad = grad_to + (block * count + i) * width;
#pragma omp simd
        for (Index c = 0; c < width; ++c) sum[c] += grad[c];
      }
    }
  });
}

template <class Real>
void divide_by_last_forward(const RowsSize& size, double epsilon, const Real* x, Real* y) {
  const Index channels = size.channels;
  const Real eps = static_cast<Real>(epsilon);
  parallel_simd(size.rows, row_grain(channels), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      const Real* const from = x + row * (channels + 1);
      Real* const to = y + row * channels;
      const Real inverse = 1 / (from[channels] + eps);
#pragma omp simd
      for (Index c = 0; c < channels; ++c) to[c] = from[c] * inverse;
    }
  });
}

template <class Real>
void divide_by_last_backward(const RowsSize& size, double epsilon, const Real* x, const Real* grad_y, Real* grad_x) {
  const Index channels = size.channels;
  const Real eps = static_cast<Real>(epsilon);
  parallel_simd(size.rows, row_grain(channels), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      const Real* const from = x + row * (channels + 1);
      const Real* const grad = grad_y + row * channels;
      Real* const to = grad_x + row * (channels + 1);
      const Real inverse = 1 / (from[channels] + eps);
      const Real along =
          lane_sum<Real, 16>(0, channels, [=](Index c) RWKVLAB_INLINE_LAMBDA { return grad[c] * (from[c] * inverse); });
#pragma omp simd
      for (Index c = 0; c < channels; ++c) to[c] = grad[c] * inverse;
      to[channels] = -along * inverse;
    }
  });
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Real)                                                          \
  template void copy_columns<Real>(Index, Index, const Real*, Index, Real*, Index);        \
  template void fill_column<Real>(Index, Real, Real*, Index);                              \
  template void repeat_blocks_forward<Real>(Index, Index, Index, const Real*, Real*);      \
  template void repeat_blocks_backward<Real>(Index, Index, Index, const Real*, Real*);     \
  template void divide_by_last_forward<Real>(const RowsSize&, double, const Real*, Real*); \
  template void divide_by_last_backward<Real>(const RowsSize&, double, const Real*, const Real*, Real*);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)

}  // namespace rwkvlab::kernels
