#include "kernels/wkv4_step.h"

#include "kernels/running_exponent.h"
#include "kernels/simd.h"

namespace rwkvlab::kernels {

void wkv4_step(const Wkv4Forward<float>& call) {
  const Index channels = call.size.channels;
  for (Index entry = 0; entry < call.size.batch; ++entry) {
    const float* const key = call.key + entry * channels;
    const float* const value = call.value + entry * channels;
    const float* const a = call.state + entry * 3 * channels;
    float* const next = call.final_state + entry * 3 * channels;
    float* const y = call.y + entry * channels;
    parallel_simd(channels, streaming_grain, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
#pragma omp simd
      for (Index c = begin; c < end; ++c) {
        const float numerator = a[c], denominator = a[channels + c], p = a[2 * channels + c], k = key[c], v = value[c];
        const Weights<float> out = softmax_pair((p - k) - call.time_first[c]);
        y[c] = (out.x * numerator + out.y * v) / (out.x * denominator + out.y);
        const Step<float> step = advance(p, 0.0F, -vector_exp(call.time_decay[c]), k);
        const float rest = 1 + step.rest;  // e^rest to the last digit: the state has no place for it.
        next[c] = (step.weights.x * numerator + step.weights.y * v) * rest;
        next[channels + c] = (step.weights.x * denominator + step.weights.y) * rest;
        next[2 * channels + c] = step.p;
      }
    });
  }
}

}  // namespace rwkvlab::kernels
