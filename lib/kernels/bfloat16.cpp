#include "kernels/bfloat16.h"

#include "kernels/simd.h"

namespace rwkvlab::kernels {

void round_to_bfloat16(Index count, const float* x, Bfloat16* out) {
  parallel_simd(count, streaming_grain, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
#pragma omp simd
    for (Index i = begin; i < end; ++i) out[i] = to_bfloat16(x[i]);
  });
}

}  // namespace rwkvlab::kernels
