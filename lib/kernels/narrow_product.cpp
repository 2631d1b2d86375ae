#include "kernels/narrow_product.h"

#include <algorithm>

#include "kernels/parallel.h"
#include "kernels/scratch.h"
#include "kernels/tile_product.h"

namespace rwkvlab::kernels {
namespace {

/// A tile of C at most, whose part of B for `depth` terms of the sum, copied together, fits the first cache.
constexpr Index tile_side = 64, depth = 128;

/// Tile of `rows` x `columns`; a, b and c point to its corners in matrices of call.m, call.n and call.n columns.
void multiply_tile(const MatmulCall& call, Index rows, Index columns, const float* a, const float* b, float* c) {
  float* const strip = scratch<float>(Scratch::local, depth * columns);
  for (Index start = 0; start < call.k; start += depth) {
    const Index terms = std::min(depth, call.k - start);
    for (Index t = 0; t < terms; ++t) std::copy_n(b + (start + t) * call.n, columns, strip + t * columns);
    const TileLeft<float> left{a + start * call.m, 1, call.m};
    if (start > 0 || call.accumulate) {
      tile_product<true>(rows, columns, terms, left, strip, columns, c, call.n);
    } else {
      tile_product<false>(rows, columns, terms, left, strip, columns, c, call.n);
    }
  }
}

}  // namespace

bool is_narrow_product(const MatmulCall& call) {
  constexpr Index narrow = 64, long_sum = 256;
  return call.transpose_a && !call.transpose_b && std::min(call.m, call.n) <= narrow && call.k >= long_sum &&
         call.m % tile_lanes == 0 && call.n % tile_lanes == 0;
}

void narrow_product(const MatmulCall& call, const float* a, const float* b, float* c) {
  const Index down = piece_count(call.m, tile_side), across = piece_count(call.n, tile_side);
  parallel_for(call.batch * down * across, 1, [&](Index begin, Index end) {
    for (Index index = begin; index < end; ++index) {
      const Index row = index / across % down * tile_side, column = index % across * tile_side;
      const Index entry = index / (across * down);
      multiply_tile(call, std::min(tile_side, call.m - row), std::min(tile_side, call.n - column),
                    a + entry * call.stride_a + row, b + entry * call.stride_b + column,
                    c + entry * call.stride_c + row * call.n + column);
    }
  });
}

}  // namespace rwkvlab::kernels
