// Columns of row-major matrices: taken out, put in, repeated, and one divided by another.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// to[row][c] = from[row][c] for c < width, rows `from_stride` and `to_stride` elements apart.
template <class Real>
void copy_columns(Index rows, Index width, const Real* from, Index from_stride, Real* to, Index to_stride);

/// to[row] = value, rows `stride` elements apart.
template <class Real>
void fill_column(Index rows, Real value, Real* to, Index stride);

/// Every block of `width` elements `count` times in a row: to[block][i][c] = from[block][c], i < count.
template <class Real>
void repeat_blocks_forward(Index blocks, Index width, Index count, const Real* from, Real* to);
/// grad_from[block][c] = Σ_i grad_to[block][i][c]
template <class Real>
void repeat_blocks_backward(Index blocks, Index width, Index count, const Real* grad_to, Real* grad_from);

/// y[row][c] = x[row][c] / (x[row][channels] + epsilon). x: [rows, channels + 1]; size: of y.
template <class Real>
void divide_by_last_forward(const RowsSize& size, double epsilon, const Real* x, Real* y);
/// With d = x[row][channels] + epsilon: grad_x[row][c] = grad_y[row][c] / d, and of the last -Σ_c grad_y[row][c]
/// x[row][c] / d².
template <class Real>
void divide_by_last_backward(const RowsSize& size, double epsilon, const Real* x, const Real* grad_y, Real* grad_x);

}  // namespace rwkvlab::kernels
