// Rotary positions (Su et al., arXiv:2104.09864) in the layout of half rotations: channel j of a head is turned
// together with channel j + head_size / 2.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// For the token at time t, with c = table[t, j] and s = ±table[t, j + head_size / 2], j < head_size / 2:
///   y_j = x_j c - x_{j + head_size / 2} s        y_{j + head_size / 2} = x_{j + head_size / 2} c + x_j s
/// `backwards` takes the minus: the rotation by the negative angle, which is the gradient. In place if wished.
/// x: [batch, time, channels], channels a multiple of head_size; table: [time, head_size].
template <class Real>
void rotate_heads(const SequenceSize& size, Index head_size, const Real* table, bool backwards, const Real* x, Real* y);

}  // namespace rwkvlab::kernels
