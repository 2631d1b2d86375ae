// Arithmetic of the recurrences in their sequential form, for profiles and benchmarks: what the equations in wkv4.h,
// wkv6.h and wkv7.h ask for, a multiplication, an addition and an exponential counting as one each. Another form of the
// same recurrence may do more.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// Of RWKV-4. Forward: 4 exponentials, 2 maxima, 4 additions of exponents, 4 multiplications and additions for y, 4 for
/// the state and a division per element. Backward: about three times as much, in two passes.
inline double wkv4_flops(const SequenceSize& size, bool backward) {
  return (backward ? 57.0 : 19.0) * static_cast<double>(size.elements());
}

/// Of Bi-WKV, bi_wkv.h. Forward: an exponential, two decayed sums from either side (8), the bonus (1) and y (6).
/// Backward: these again, h and h y (2), four more sums (8), and the gradients of keys and values (10), of w (8) and of
/// u (4).
inline double bi_wkv_flops(const SequenceSize& size, bool backward) {
  return (backward ? 48.0 : 16.0) * static_cast<double>(size.elements());
}

/// Per element of the state and token. RWKV-5 and 6, forward: the product of key and value, the sum with the decayed
/// state (2), the bonus (2) and the sum of y (2). Backward: the states again (3), dr (2), dk (2), dv (2), ddecay (2)
/// and D (3).
inline double wkv6_flops(Index batch, Index time, Index heads, Index head_size, bool backward) {
  const auto state = static_cast<double>(batch * time * heads) * static_cast<double>(head_size * head_size);
  return (backward ? 14.0 : 7.0) * state;
}

/// The same for RWKV-7's delta rule. Forward: decay (1), the outer product of key and value (2), y (2), and with the
/// delta rule what is read (2) and written back (2). Backward: the states again (3 + 2), dr (2), D (2 + 1), ddecay (2),
/// dk (2), dv (2), and with the delta rule db (2), dsa (2), da (2) and D (2).
inline double wkv7_flops(Index batch, Index time, Index heads, Index key_size, Index value_size, bool has_delta_rule,
                         bool backward) {
  const auto state = static_cast<double>(batch * time * heads) * static_cast<double>(key_size * value_size);
  return (backward ? has_delta_rule ? 24.0 : 14.0 : has_delta_rule ? 9.0 : 5.0) * state;
}

}  // namespace rwkvlab::kernels
