#include "kernels/tile_product.h"

namespace rwkvlab::kernels {
namespace {

using detail::Lanes;
using detail::lanes_at;
using detail::unrolled;

template <bool add, int rows, int vectors, class Real>
RWKVLAB_INLINE void product_block(const TileLeft<Real>& a, const Real* b, Index b_row, Index depth, Real* c,
                                  Index c_row) {
  Lanes<Real> sums[rows * vectors];
  unrolled<rows * vectors>([&](auto at) RWKVLAB_INLINE_LAMBDA {
    if constexpr (add) {
      sums[at] = lanes_at(c + at / vectors * c_row + at % vectors * tile_lanes);
    } else {
      sums[at] = Lanes<Real>{};
    }
  });
  for (Index k = 0; k < depth; ++k) {
    Lanes<Real> right[vectors];
    unrolled<vectors>([&](auto v) RWKVLAB_INLINE_LAMBDA { right[v] = lanes_at(b + k * b_row + v * tile_lanes); });
    unrolled<rows>([&](auto i) RWKVLAB_INLINE_LAMBDA {
      const Real left = a.at[i * a.row + k * a.step];
      unrolled<vectors>([&](auto v) RWKVLAB_INLINE_LAMBDA { sums[i * vectors + v] += left * right[v]; });
    });
  }
  unrolled<rows * vectors>([&](auto at) RWKVLAB_INLINE_LAMBDA {
    lanes_at(c + at / vectors * c_row + at % vectors * tile_lanes) = sums[at];
  });
}

template <bool add, int rows, int vectors, class Real>
RWKVLAB_INLINE void product_column(const TileLeft<Real>& a, Index count, const Real* b, Index b_row, Index depth,
                                   Real* c, Index c_row) {
  for (Index i = 0; i < count; i += rows) {
    product_block<add, rows, vectors>({a.at + i * a.row, a.row, a.step}, b, b_row, depth, c + i * c_row, c_row);
  }
}

template <bool add, class Real>
RWKVLAB_CLONES void product(Index rows, Index columns, Index depth, const TileLeft<Real>& a, const Real* b, Index b_row,
                            Real* c, Index c_row) {
  Index column = 0;
  for (; column + 4 * tile_lanes <= columns; column += 4 * tile_lanes) {
    product_column<add, 4, 4>(a, rows, b + column, b_row, depth, c + column, c_row);
  }
  for (; column + 2 * tile_lanes <= columns; column += 2 * tile_lanes) {
    product_column<add, 8, 2>(a, rows, b + column, b_row, depth, c + column, c_row);
  }
  for (; column < columns; column += tile_lanes) {
    product_column<add, 16, 1>(a, rows, b + column, b_row, depth, c + column, c_row);
  }
}

template <class Real>
RWKVLAB_CLONES void transpose(Index rows, Index columns, const Real* from, Index from_row, Real* to, Index to_row) {
  for (Index i = 0; i < rows; i += tile_lanes) {
    for (Index j = 0; j < columns; ++j) {
      for (Index lane = 0; lane < tile_lanes; ++lane) to[j * to_row + i + lane] = from[(i + lane) * from_row + j];
    }
  }
}

}  // namespace

template <bool add, class Real>
void tile_product(Index rows, Index columns, Index depth, const TileLeft<Real>& a, const Real* b, Index b_row, Real* c,
                  Index c_row) {
  product<add>(rows, columns, depth, a, b, b_row, c, c_row);
}

template <class Real>
void tile_transpose(Index rows, Index columns, const Real* from, Index from_row, Real* to, Index to_row) {
  transpose(rows, columns, from, from_row, to, to_row);
}

template void tile_product<false>(Index, Index, Index, const TileLeft<float>&, const float*, Index, float*, Index);
template void tile_product<true>(Index, Index, Index, const TileLeft<float>&, const float*, Index, float*, Index);
template void tile_product<false>(Index, Index, Index, const TileLeft<double>&, const double*, Index, double*, Index);
template void tile_product<true>(Index, Index, Index, const TileLeft<double>&, const double*, Index, double*, Index);
template void tile_transpose<float>(Index, Index, const float*, Index, float*, Index);
template void tile_transpose<double>(Index, Index, const double*, Index, double*, Index);

}  // namespace rwkvlab::kernels
