// Cloned, threaded loops and fixed-order sums: what the kernels are made of. Included by this folder's sources only.
#pragma once

#include <utility>

#include "kernels/clones.h"
#include "kernels/parallel.h"
#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// Elements per piece of a streaming loop: long enough that starting a piece costs nothing.
inline constexpr Index streaming_grain = 16384;

/// Calls an inlined body compiled for each instruction set. The body is a copy, so that what it captures cannot alias
/// what it writes.
template <class Body>
RWKVLAB_CLONES void run_cloned(Body body, Index begin, Index end) {
  body(begin, end);
}

/// Asks for `count` numbers before they are needed (null: for none): rows that lie a whole row of channels apart are
/// too far from each other for the processor to foresee. Harmless beyond the end of an array. `locality`: 3 for the
/// first cache, 2 for the second.
template <int locality = 3, class Real>
RWKVLAB_INLINE void prefetch(const Real* from, Index count) {
  constexpr Index line = 64 / sizeof(Real);
  for (Index i = 0; from != nullptr && i < count; i += line) __builtin_prefetch(from + i, 0, locality);
}

/// parallel_for over pieces with a body that is compiled for each instruction set. The body must be a lambda marked
/// RWKVLAB_INLINE_LAMBDA, and all it calls RWKVLAB_INLINE.
template <class Body>
void parallel_simd(Index count, Index grain, const Body& body) {
  parallel_for(count, grain, [&body](Index begin, Index end) { run_cloned(body, begin, end); });
}

/// Grain in rows that makes pieces of about streaming_grain elements.
inline Index row_grain(Index channels) { return std::max<Index>(1, streaming_grain / std::max<Index>(1, channels)); }

/// Sum of term(i) for i in [begin, end) in an order that depends on the length alone: `lanes` interleaved sums, folded
/// in halves. Vectorises for every instruction set with the same order.
template <class Accumulator, int lanes = 32, class Term>
RWKVLAB_INLINE Accumulator lane_sum(Index begin, Index end, Term term) {
  Accumulator sums[lanes] = {};
  Index i = begin;
  for (; i + lanes <= end; i += lanes) {
#pragma omp simd
    for (int lane = 0; lane < lanes; ++lane) sums[lane] += term(i + lane);
  }
  for (int lane = 0; i + lane < end; ++lane) sums[lane] += term(i + lane);
  for (int half = lanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

/// Largest of `start` and term(i) for i in [begin, end); NaN terms are passed over.
template <class Real, class Term>
RWKVLAB_INLINE Real lane_max(Index begin, Index end, Real start, Term term) {
  constexpr int lanes = 32;
  Real best[lanes];
  for (int lane = 0; lane < lanes; ++lane) best[lane] = start;
  Index i = begin;
  for (; i + lanes <= end; i += lanes) {
#pragma omp simd
    for (int lane = 0; lane < lanes; ++lane) {
      const Real value = term(i + lane);
      best[lane] = value > best[lane] ? value : best[lane];
    }
  }
  for (; i < end; ++i) {
    const Real value = term(i);
    best[0] = value > best[0] ? value : best[0];
  }
  for (int lane = 1; lane < lanes; ++lane) best[0] = best[lane] > best[0] ? best[lane] : best[0];
  return best[0];
}

}  // namespace rwkvlab::kernels
