// The innermost loops of row_product.h: dot products of stored rows with one row of inputs. Included by this folder's
// sources only.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// At most so many rows per call.
inline constexpr Index row_sum_block = 32;

/// sums[i] = Σ_j words-as-numbers[i, j] x[j] of `count` stored rows of `width` inputs, a multiple of 64.
using FloatRowSums = void (*)(const std::uint32_t* words, Index count, Index width, const float* x, float* sums);
/// sums[i] = scales[i] unit Σ_j q[i, j] x[j]: the sum is exact, as long as that of a sixteenth of the products (every
/// 16th) fits into 32 bits.
using IntegerRowSums = void (*)(const std::uint16_t* words, Index count, Index width, const std::int16_t* x,
                                const float* scales, float unit, float* sums);

/// The fastest that this processor runs. Those of floating-point numbers add up in an order that depends on the width.
FloatRowSums float_row_sums();
FloatRowSums bfloat16_row_sums();
IntegerRowSums integer_row_sums();

/// For any processor.
FloatRowSums portable_float_row_sums();
FloatRowSums portable_bfloat16_row_sums();
IntegerRowSums portable_integer_row_sums();

}  // namespace rwkvlab::kernels
