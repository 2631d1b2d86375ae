#include "kernels/wkv7_step.h"

#include <algorithm>

#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/vector_math.h"

namespace rwkvlab::kernels {
namespace {

constexpr int lanes = 16;

/// What all rows of a head's state meet; null where the call leaves it out.
template <class Real>
struct HeadVectors {
  const Real *decay, *key, *receptance, *a, *b;
};

/// For a row s of the state and its value v: s_j w_j + v k_j + (Σ s a) b_j into `next`; returns Σ next r.
template <bool delta, class Real>
RWKVLAB_INLINE Real step_row(const HeadVectors<Real>& head, Index keys, const Real* row, Real value, Real* next) {
  const Real removed =
      delta ? lane_sum<Real, lanes>(0, keys, [=](Index j) RWKVLAB_INLINE_LAMBDA { return row[j] * head.a[j]; })
            : Real(0);
#pragma omp simd
  for (Index j = 0; j < keys; ++j) {
    const Real kept = row[j] * head.decay[j] + value * head.key[j];
    next[j] = delta ? kept + removed * head.b[j] : kept;
  }
  return lane_sum<Real, lanes>(0, keys, [=](Index j) RWKVLAB_INLINE_LAMBDA { return next[j] * head.receptance[j]; });
}

template <bool delta, class Real>
void step_heads(const Wkv7Forward<Real>& call) {
  const Index keys = call.size.key_size, values = call.size.value_size;
  parallel_simd(call.size.states(), 1, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    Real* const decay = scratch<Real>(Scratch::local, keys);
    for (Index state = begin; state < end; ++state) {
      const Index at = state * keys;
      const bool decays = call.log_decay != nullptr;
      const Real* const log_decay = decays ? call.log_decay + at : nullptr;
      if (decays) {
#pragma omp simd
        for (Index j = 0; j < keys; ++j) decay[j] = vector_exp(log_decay[j]);
      } else {
        std::fill_n(decay, keys, Real(1));
      }
      const HeadVectors<Real> head = {decay, call.key + at, call.receptance + at, delta ? call.a + at : nullptr,
                                      delta ? call.b + at : nullptr};
      for (Index i = 0; i < values; ++i) {
        const Index row = (state * values + i) * keys;
        call.y[state * values + i] =
            step_row<delta>(head, keys, call.state + row, call.value[state * values + i], call.final_state + row);
      }
    }
  });
}

}  // namespace

template <class Real>
void wkv7_step(const Wkv7Forward<Real>& call) {
  if (call.a != nullptr) {
    step_heads<true>(call);
  } else {
    step_heads<false>(call);
  }
}

template void wkv7_step<float>(const Wkv7Forward<float>&);
template void wkv7_step<double>(const Wkv7Forward<double>&);

}  // namespace rwkvlab::kernels
