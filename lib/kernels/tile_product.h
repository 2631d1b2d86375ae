// Products of small matrices that lie in the nearest caches: what the matrix form of a scan is made of. Sums stay in
// registers over the whole depth. Included by this folder's sources only.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// Rows and columns of every product here come in multiples of this.
inline constexpr Index tile_lanes = 16;

inline constexpr Index in_tiles(Index count) { return (count + tile_lanes - 1) / tile_lanes * tile_lanes; }

/// The left factor of a product: element (i, k) is at[i * row + k * step], so a transposed matrix is one with row and
/// step exchanged.
template <class Real>
struct TileLeft {
  const Real* at;
  Index row, step;
};

/// c (+)= a b: a [rows, depth], b [depth, columns] with rows b_row apart, c [rows, columns] with rows c_row apart. Rows
/// and columns are multiples of tile_lanes. The order of every sum is that of k. On the calling thread alone.
template <bool add, class Real>
void tile_product(Index rows, Index columns, Index depth, const TileLeft<Real>& a, const Real* b, Index b_row, Real* c,
                  Index c_row);

/// to[j][i] = from[i][j] for i < rows, j < columns; rows are a multiple of tile_lanes.
template <class Real>
void tile_transpose(Index rows, Index columns, const Real* from, Index from_row, Real* to, Index to_row);

}  // namespace rwkvlab::kernels
