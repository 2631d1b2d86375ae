// The number format bfloat16: the upper half of a float32, with 8 significant bits.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "kernels/clones.h"
#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// Sign, 8 bits of exponent and 7 of fraction: the range of float32 with a spacing of 2^-7 relative to the power of two
/// below a number.
struct Bfloat16 {
  std::uint16_t bits;
};

/// The nearest bfloat16, of two equally near ones that with an even last bit (IEEE 754): the relative error is at most
/// 2^-8 for numbers that are not denormal. Beyond the largest finite one (about 3.39e38) this is infinity; NaN stays
/// NaN.
RWKVLAB_INLINE Bfloat16 to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t nearest = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  const std::uint32_t quiet_nan = (bits >> 16) | 0x40U;  // Rounded, a NaN might become infinite.
  const bool is_nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
  return {static_cast<std::uint16_t>(is_nan ? quiet_nan : nearest)};
}

/// A value as an operand of that type: itself, or rounded.
template <class Operand, class Real>
RWKVLAB_INLINE Operand as_operand(Real value) {
  if constexpr (std::is_same_v<Operand, Bfloat16>) {
    return to_bfloat16(value);
  } else {
    return value;
  }
}

/// The same number as float32.
RWKVLAB_INLINE float to_float(Bfloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

/// out[i] = to_bfloat16(x[i]).
void round_to_bfloat16(Index count, const float* x, Bfloat16* out);

}  // namespace rwkvlab::kernels
