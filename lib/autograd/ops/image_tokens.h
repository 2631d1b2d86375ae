// Between images and sequences of tokens: patches, grids at another size, other orders and shapes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autograd/var.h"

namespace rwkvlab {

/// The squares of `patch` pixels of images [batch, channels, height, width], row by row, as [batch, patches, channels ·
/// patch · patch] (channels, then rows, then columns of a patch). Where the patch does not divide a side, zeros follow
/// at the bottom and on the right.
Var image_patches(const Var& images, std::int64_t patch);

/// A grid of tokens and its size.
struct GridSize {
  std::int64_t rows = 0, columns = 0;
  std::int64_t tokens() const { return rows * columns; }
  bool operator==(const GridSize&) const = default;
};

/// A grid at another size: x [batch, from.tokens(), channels], row by row -> [batch, to.tokens(), channels]. Position d
/// of the result lies at (d + 1/2) from/to - 1/2. mode: "bicubic" (the cubic kernel with a = -0.75, four taps per axis,
/// numbers clamped to the border) or "bilinear" (positions below 0 count as 0). No filter before a reduction. With
/// `whole`, the grid is resized to that, of which the result is the part at the top on the left.
Var resize_grid(const Var& x, const GridSize& from, const GridSize& to, const std::string& mode,
                const GridSize& whole = {});

/// The same elements under another shape.
Var reshape(const Var& x, const Shape& shape);
/// [batch, time, channels] -> [batch, channels, time].
Var channels_first(const Var& x);
/// Tokens [begin, end) of [batch, time, channels].
Var token_range(const Var& x, std::int64_t begin, std::int64_t end);
/// y[b, j] = x[b, order[j]]. x: [batch, time, channels]; order: every token once.
Var reorder_tokens(const Var& x, const std::vector<std::int64_t>& order);
/// Mean over the tokens: [batch, time, channels] -> [batch, channels].
Var mean_of_tokens(const Var& x);

/// x + sample_b · channel_c · branch. x, branch: [batch, time, channels]; channel: [channels] or none; sample: a
/// constant [batch], or undefined.
Var add_branch(const Var& x, const Var& branch, const Var& channel, const Tensor& sample);

/// The inverse of an order of tokens.
std::vector<std::int64_t> inverse_order(const std::vector<std::int64_t>& order);

}  // namespace rwkvlab
