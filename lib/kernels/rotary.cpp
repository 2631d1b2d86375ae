#include "kernels/rotary.h"

#include "kernels/simd.h"

namespace rwkvlab::kernels {

template <class Real>
void rotate_heads(const SequenceSize& size, Index head_size, const Real* table, bool backwards, const Real* x,
                  Real* y) {
  const Index channels = size.channels, time = size.time, half = head_size / 2;
  const Real sign = backwards ? Real(-1) : Real(1);
  parallel_simd(size.rows(), row_grain(channels), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      const Real* cosines = table + row % time * head_size;
      const Real* sines = cosines + half;
      for (Index at = row * channels; at < (row + 1) * channels; at += head_size) {
#pragma omp simd
        for (Index j = 0; j < half; ++j) {
          const Real a = x[at + j], b = x[at + half + j], s = sign * sines[j];
          y[at + j] = a * cosines[j] - b * s;
          y[at + half + j] = b * cosines[j] + a * s;
        }
      }
    }
  });
}

template void rotate_heads<float>(const SequenceSize&, Index, const float*, bool, const float*, float*);
template void rotate_heads<double>(const SequenceSize&, Index, const double*, bool, const double*, double*);

}  // namespace rwkvlab::kernels
