#include "kernels/residual_branch.h"

#include "kernels/simd.h"

namespace rwkvlab::kernels {

template <class Real>
void add_branch(const SequenceSize& size, const Real* x, const Real* branch, const Real* channel, const Real* sample,
                Real* out) {
  const Index channels = size.channels, time = size.time;
  // Calls add(first element, factor) for every row.
  const auto rows = [=](const auto& add) {
    parallel_simd(size.rows(), row_grain(channels), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
      for (Index row = begin; row < end; ++row) add(row * channels, sample != nullptr ? sample[row / time] : Real(1));
    });
  };
  if (channel == nullptr) {
    rows([=](Index at, Real factor) RWKVLAB_INLINE_LAMBDA {
#pragma omp simd
      for (Index c = at; c < at + channels; ++c) out[c] = x[c] + factor * branch[c];
    });
    return;
  }
  rows([=](Index at, Real factor) RWKVLAB_INLINE_LAMBDA {
#pragma omp simd
    for (Index c = 0; c < channels; ++c) out[at + c] = x[at + c] + factor * (channel[c] * branch[at + c]);
  });
}

template <class Real>
void scale_samples(const SequenceSize& size, const Real* x, const Real* sample, Real* out) {
  const Index channels = size.channels, time = size.time;
  parallel_simd(size.rows(), row_grain(channels), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      const Real factor = sample[row / time];
#pragma omp simd
      for (Index i = row * channels; i < (row + 1) * channels; ++i) out[i] = factor * x[i];
    }
  });
}

template <class Real>
void sum_tokens(const SequenceSize& size, double factor, const Real* x, Real* out) {
  const Index channels = size.channels, time = size.time;
  const Real scale = static_cast<Real>(factor);
  parallel_simd(size.batch, 1, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index b = begin; b < end; ++b) {
      Real* const to = out + b * channels;
      for (Index c = 0; c < channels; ++c) to[c] = 0;
      for (Index t = 0; t < time; ++t) {
        const Real* const from = x + (b * time + t) * channels;
#pragma omp simd
        for (Index c = 0; c < channels; ++c) to[c] += from[c];
      }
      for (Index c = 0; c < channels; ++c) to[c] *= scale;
    }
  });
}

template <class Real>
void spread_tokens(const SequenceSize& size, double factor, const Real* x, Real* out) {
  const Index channels = size.channels, time = size.time;
  const Real scale = static_cast<Real>(factor);
  parallel_simd(size.rows(), row_grain(channels), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      const Real* const from = x + row / time * channels;
#pragma omp simd
      for (Index c = 0; c < channels; ++c) out[row * channels + c] = scale * from[c];
    }
  });
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Real)                                                                           \
  template void add_branch(const SequenceSize&, const Real*, const Real*, const Real*, const Real*, Real*); \
  template void scale_samples(const SequenceSize&, const Real*, const Real*, Real*);                        \
  template void sum_tokens(const SequenceSize&, double, const Real*, Real*);                                \
  template void spread_tokens(const SequenceSize&, double, const Real*, Real*);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)
#undef RWKVLAB_INSTANTIATE

}  // namespace rwkvlab::kernels
