// How tokens learn where they stand: rotary and learned positions.
#pragma once

#include "autograd/var.h"

namespace rwkvlab {

/// Cosines and sines for rotate_heads: row t holds cos((first + t) θ_j) for j < head_size / 2 and then the sines, θ_j =
/// base^(-2j / head_size). [time, head_size], head_size even.
Tensor rotary_table(std::int64_t first, std::int64_t time, std::int64_t head_size, double base, DType type);

/// Rotary positions (arXiv:2104.09864): every pair (j, j + head_size / 2) of channels of a head is turned by the angle
/// of its token. x: [batch, time, channels], channels a multiple of the table's head_size.
Var rotate_heads(const Var& x, const Tensor& table);

/// x_t + positions_{first + t}. x: [batch, time, channels]; positions: [length, channels] with at least first + time
/// rows.
Var add_positions(const Var& x, const Var& positions, std::int64_t first);

}  // namespace rwkvlab
