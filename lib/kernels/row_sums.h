// The innermost loops of row_product.h: dot products of stored rows with one row of inputs. Included by this folder's
// sources only.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// So many rows stay in the first cache while several rows of inputs meet them.
inline constexpr Index row_sum_block = 32;

/// sums[i] = Σ_j words-as-numbers[i, j] x[j] of `count` stored rows of `width` inputs, a multiple of 64.
using FloatRowSums = void (*)(const std::uint32_t* words, Index count, Index width, const float* x, float* sums);
/// Inputs as integers 256 high + low, each a signed byte: their products with weights of a byte are sums of what
/// processors multiply in one instruction.
struct IntegerInputs {
  const std::int8_t *high, *low;  ///< [width]
  std::int64_t sum;               ///< of the integers
  float unit;                     ///< what 1 stands for
};
/// sums[i] = scales[i] unit Σ_j (bytes[i, j] - 128) x[j]: the sum is exact, as long as that of a thirty-second of the
/// products (every 32nd) fits into 32 bits.
using IntegerRowSums = void (*)(const std::uint8_t* bytes, Index count, Index width, const IntegerInputs& x,
                                const float* scales, float* sums);

/// The fastest that this processor runs. Those of floating-point numbers add up in an order that depends on the width.
FloatRowSums float_row_sums();
FloatRowSums bfloat16_row_sums();
IntegerRowSums integer_row_sums();

/// For any processor.
FloatRowSums portable_float_row_sums();
FloatRowSums portable_bfloat16_row_sums();
IntegerRowSums portable_integer_row_sums();

}  // namespace rwkvlab::kernels
