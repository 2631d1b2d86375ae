// Positions of the tokens of a grid that need no learning.
#pragma once

#include "autograd/ops/image_tokens.h"
#include "tensor/tensor.h"

namespace rwkvlab {

/// Element `index` of sine_positions, in row-major order.
double sine_position(const GridSize& grid, std::int64_t width, std::int64_t index);

/// Sines and then cosines of a token's column in the first half of the channels and of its row in the second, at the
/// frequencies 10000^(-i / q), i < q = ⌊width / 4⌋ (arXiv:1706.03762, section 3.5, for two dimensions as in
/// arXiv:2111.06377); channels beyond four equal quarters are 0. [rows · columns, width].
Tensor sine_positions(const GridSize& grid, std::int64_t width, DType type);

}  // namespace rwkvlab
