#include "kernels/wkv7.h"

#include <algorithm>

#include "kernels/matrix_state_backward.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/vector_math.h"
#include "kernels/wkv7_step.h"

namespace rwkvlab::kernels {
namespace {

/// Where a unit of the forward pass lies: one head of one batch entry, value channels [value, value + width).
struct Unit {
  Index state;      ///< batch entry and head
  Index key_row;    ///< the first token's element of the head in arrays of keys
  Index value_row;  ///< the same in arrays of values
  Index value, width;
};
/// Where the head `state` begins in an array [batch, time, heads, head_size].
RWKVLAB_INLINE Index first_row(const Wkv7Size& size, Index state, Index head_size) {
  return (state / size.heads * size.time * size.heads + state % size.heads) * head_size;
}
RWKVLAB_INLINE Unit unit_at(const Wkv7Size& size, Index index, Index tile_width) {
  const Index tiles = (size.value_size + tile_width - 1) / tile_width, value = index % tiles * tile_width;
  const Index head = index / tiles;
  return {head, first_row(size, head, size.key_size), first_row(size, head, size.value_size), value,
          std::min(tile_width, size.value_size - value)};
}

/// The tile between memory, [values][keys], and the form that the loops over value channels need, [keys][values]. Lanes
/// beyond the unit's width are zero and stay so, as their values are.
template <int tile_width, class Real>
RWKVLAB_INLINE void load_tile(const Real* state, Index keys, Index width, Real* tile) {
  for (Index j = 0; j < keys; ++j) {
    for (Index i = 0; i < tile_width; ++i) {
      tile[j * tile_width + i] = state != nullptr && i < width ? state[i * keys + j] : Real(0);
    }
  }
}
template <int tile_width, class Real>
RWKVLAB_INLINE void store_tile(const Real* tile, Index keys, Index width, Real* state) {
  for (Index i = 0; i < width; ++i) {
    for (Index j = 0; j < keys; ++j) state[i * keys + j] = tile[j * tile_width + i];
  }
}

template <class Real>
RWKVLAB_INLINE void copy_lanes(const Real* from, Index width, Real* to) {
  for (Index i = 0; i < width; ++i) to[i] = from[i];
}

/// Σ_j tile[j] at[j].
template <int tile_width, class Real>
RWKVLAB_INLINE void read_tile(const Real* tile, const Real* at, Index keys, Real* result) {
  alignas(64) Real sum[tile_width] = {};
  for (Index j = 0; j < keys; ++j) {
    const Real weight = at[j];
#pragma omp simd
    for (Index i = 0; i < tile_width; ++i) sum[i] += tile[j * tile_width + i] * weight;
  }
  copy_lanes(sum, tile_width, result);
}

/// One token in one sweep over the tile: the new state, y, and what the next token will read (at `next`, or nothing).
template <int tile_width, bool delta, class Real>
RWKVLAB_INLINE void advance_tile(Real* tile, const Real* decay, const Real* key, const Real* receptance, const Real* b,
                                 const Real* next, Index keys, const Real* value, Real* read, Real* y) {
  alignas(64) Real v[tile_width], sa[tile_width], out[tile_width] = {}, ahead[tile_width] = {};
  copy_lanes(value, tile_width, v);
  copy_lanes(read, tile_width, sa);
  for (Index j = 0; j < keys; ++j) {
    const Real w = decay[j], k = key[j], r = receptance[j];
    const Real back = delta ? b[j] : Real(0), weight = delta ? next[j] : Real(0);
#pragma omp simd
    for (Index i = 0; i < tile_width; ++i) {
      Real x = tile[j * tile_width + i] * w + v[i] * k;
      if (delta) x += sa[i] * back;
      tile[j * tile_width + i] = x;
      out[i] += x * r;
      if (delta) ahead[i] += x * weight;
    }
  }
  copy_lanes(out, tile_width, y);
  copy_lanes(ahead, tile_width, read);
}

/// What the forward pass will read of a token.
template <bool delta, class Real>
RWKVLAB_INLINE void prefetch_token(const Wkv7Forward<Real>& call, Index at, Index value_at, Index keys, Index width) {
  prefetch(call.receptance + at, keys), prefetch(call.key + at, keys), prefetch(call.value + value_at, width);
  if (call.log_decay != nullptr) prefetch(call.log_decay + at, keys);
  if (delta) prefetch(call.a + at, keys), prefetch(call.b + at, keys);
}

template <int tile_width, bool delta, class Real>
RWKVLAB_INLINE void forward_unit(const Wkv7Forward<Real>& call, const Unit& unit) {
  constexpr Index ahead = 2;  // The next token's `a` is read with this one; a token takes longer than memory does.
  const Index keys = call.size.key_size, stride = call.size.key_channels(), first = unit.value * keys;
  const Index matrix = keys * call.size.value_size;
  Real* tile = scratch<Real>(Scratch::local, keys * (tile_width + 1));
  Real* decay = tile + keys * tile_width;
  alignas(64) Real value[tile_width] = {}, read[tile_width] = {}, y[tile_width] = {};
  const Index state_at = unit.state * matrix + first;
  load_tile<tile_width>(call.state == nullptr ? nullptr : call.state + state_at, keys, unit.width, tile);
  if (delta && call.size.time > 0) read_tile<tile_width>(tile, call.a + unit.key_row, keys, read);
  std::fill(decay, decay + keys, Real(1));
  Index at = unit.key_row, value_at = unit.value_row + unit.value;
  for (Index t = 0; t < call.size.time; ++t, at += stride, value_at += call.size.value_channels()) {
    if (call.kept_states != nullptr && t % kept_state_tokens == 0) {
      const Index kept = unit.state * call.size.chunks() + t / kept_state_tokens;
      store_tile<tile_width>(tile, keys, unit.width, call.kept_states + kept * matrix + first);
    }
    prefetch_token<delta>(call, at + ahead * stride, value_at + ahead * call.size.value_channels(), keys, unit.width);
    if (call.log_decay != nullptr) {
      const Real* log_decay = call.log_decay + at;
#pragma omp simd
      for (Index j = 0; j < keys; ++j) decay[j] = vector_exp(log_decay[j]);
    }
    copy_lanes(call.value + value_at, unit.width, value);
    if (delta && call.read != nullptr) copy_lanes(read, unit.width, call.read + value_at);
    const Real* next = nullptr;
    if (delta) next = call.a + (t + 1 < call.size.time ? at + stride : at);  // The last one's is not used.
    advance_tile<tile_width, delta>(tile, decay, call.key + at, call.receptance + at, delta ? call.b + at : nullptr,
                                    next, keys, value, read, y);
    copy_lanes(y, unit.width, call.y + value_at);
  }
  if (call.final_state != nullptr) store_tile<tile_width>(tile, keys, unit.width, call.final_state + state_at);
}

/// All units of tiles of the same width.
template <int tile_width, class Real>
void forward_tiles(const Wkv7Forward<Real>& call) {
  const Index tiles = (call.size.value_size + tile_width - 1) / tile_width;
  parallel_simd(call.size.states() * tiles, 1, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index index = begin; index < end; ++index) {
      const Unit unit = unit_at(call.size, index, tile_width);
      if (call.a != nullptr) {
        forward_unit<tile_width, true>(call, unit);
      } else {
        forward_unit<tile_width, false>(call, unit);
      }
    }
  });
}

}  // namespace

/// A wider tile reads the keys' numbers less often; a narrower one wastes less on small heads, and makes more units for
/// the threads. The bits are the same, because no sum crosses value channels.
template <class Real>
void wkv7_forward(const Wkv7Forward<Real>& call) {
  if (is_wkv7_step(call)) return wkv7_step(call);
  if (call.size.value_size <= 32 || call.size.states() < 2 * threads()) {
    forward_tiles<32>(call);
  } else {
    forward_tiles<64>(call);
  }
}

template <class Real>
void wkv7_backward(const Wkv7Backward<Real>& call) {
  MatrixStateBackward<Real> common;
  common.batch = call.size.batch;
  common.time = call.size.time;
  common.heads = call.size.heads;
  common.key_size = call.size.key_size;
  common.value_size = call.size.value_size;
  common.receptance = call.receptance;
  common.key = call.key;
  common.value = call.value;
  common.decay = call.log_decay;
  common.a = call.a;
  common.b = call.b;
  common.read = call.read;
  common.kept = call.kept_states;
  common.grad_y = call.grad_y;
  common.grad_final_state = call.grad_final_state;
  common.grad_receptance = call.grad_receptance;
  common.grad_key = call.grad_key;
  common.grad_value = call.grad_value;
  common.grad_decay = call.grad_log_decay;
  common.grad_a = call.grad_a;
  common.grad_b = call.grad_b;
  common.grad_state = call.grad_state;
  matrix_state_backward(common);
}

template void wkv7_forward<float>(const Wkv7Forward<float>&);
template void wkv7_forward<double>(const Wkv7Forward<double>&);
template void wkv7_backward<float>(const Wkv7Backward<float>&);
template void wkv7_backward<double>(const Wkv7Backward<double>&);

}  // namespace rwkvlab::kernels
