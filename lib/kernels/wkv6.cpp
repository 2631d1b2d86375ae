#include "kernels/wkv6.h"

#include <algorithm>

#include "kernels/matrix_state_backward.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/vector_math.h"

namespace rwkvlab::kernels {
namespace {

/// e^decay and w = e^-(e^decay) of `count` channels.
template <class Real>
RWKVLAB_INLINE void decays(const Real* raw, Index count, Real* rate, Real* w) {
#pragma omp simd
  for (Index i = 0; i < count; ++i) {
    rate[i] = vector_exp(raw[i]);
    w[i] = vector_exp_nonpositive(-rate[i]);
  }
}

/// Where a head's numbers lie.
struct Head {
  Index batch, head;
  /// Its channels of the token that the recurrence reads as number t.
  template <class Real>
  RWKVLAB_INLINE Index row(const Wkv6Inputs<Real>& in, Index t) const {
    const Index token = batch * in.size.time + (in.is_reversed ? in.size.time - 1 - t : t);
    return token * in.size.channels() + head * in.size.head_size;
  }
  Index index(const Wkv6Size& size) const { return batch * size.heads + head; }
};

/// Raw decay of token t of a head.
template <class Real>
RWKVLAB_INLINE const Real* decay_of(const Wkv6Inputs<Real>& in, const Head& at, Index t) {
  return in.decay + (in.fixed_decay ? at.head * in.size.head_size : at.row(in, t));
}

/// Forward pass of `width` <= tile value channels from `column`. The tile is a constant number of columns, so that a
/// row of the state stays in registers; columns beyond `width` compute with zeros.
template <int tile, class Real>
RWKVLAB_INLINE void forward_unit(const Wkv6Forward<Real>& call, const Head& at, Index column, Index width) {
  const Wkv6Inputs<Real>& in = call.in;
  const Index n = in.size.head_size, step = in.is_reversed ? -in.size.channels() : in.size.channels();
  const Index matrix = at.index(in.size) * n * n + column;
  Real* const state = scratch<Real>(Scratch::local, n * (tile + 2));
  Real* const w = state + n * tile;
  Real* const rate = w + n;
  const Real* const bonus = in.bonus + at.head * n;
  const auto keep = [=](Real* to) RWKVLAB_INLINE_LAMBDA {
    for (Index i = 0; i < n; ++i) std::copy_n(state + i * tile, width, to + i * n);
  };
  std::fill(state, state + n * tile, Real(0));
  for (Index i = 0; in.state != nullptr && i < n; ++i) {
    std::copy_n(in.state + matrix + i * n, width, state + i * tile);
  }
  for (Index t = 0; t < in.size.time; ++t) {
    if (call.kept_states != nullptr && t % kept_state_tokens == 0) {
      keep(call.kept_states + (at.index(in.size) * in.size.chunks() + t / kept_state_tokens) * n * n + column);
    }
    if (t == 0 || !in.fixed_decay) decays(decay_of(in, at, t), n, rate, w);
    const Index row = at.row(in, t), next = row + step;
    prefetch(in.receptance + next, n), prefetch(in.key + next, n), prefetch(in.value + next + column, width);
    if (!in.fixed_decay) prefetch(in.decay + next, n);
    const Real* const r = in.receptance + row;
    const Real* const k = in.key + row;
    alignas(64) Real v[tile] = {}, y[tile] = {};
    for (Index j = 0; j < width; ++j) v[j] = in.value[row + column + j];
    Real direct = 0;
    for (Index i = 0; i < n; ++i) {
      const Real ri = r[i], ki = k[i], wi = w[i];
      Real* const s = state + i * tile;
      direct += ri * bonus[i] * ki;
#pragma omp simd
      for (int j = 0; j < tile; ++j) {
        const Real old = s[j];
        y[j] += ri * old;
        s[j] = wi * old + ki * v[j];
      }
    }
    for (Index j = 0; j < width; ++j) call.y[row + column + j] = y[j] + direct * v[j];
  }
  if (call.final_state != nullptr) keep(call.final_state + matrix);
}

/// One token from a given state to a wanted one, as in generation.
template <class Real>
bool is_step(const Wkv6Forward<Real>& call) {
  return call.in.size.time == 1 && call.in.state != nullptr && call.final_state != nullptr &&
         call.kept_states == nullptr;
}

/// What forward_unit() computes of a step with a whole tile, operation for operation: rows of the state are read where
/// they lie and written where they shall lie.
template <int tile, class Real>
RWKVLAB_INLINE void step_unit(const Wkv6Forward<Real>& call, const Head& at, Index column) {
  const Wkv6Inputs<Real>& in = call.in;
  const Index n = in.size.head_size, matrix = at.index(in.size) * n * n + column, row = at.row(in, 0);
  Real* const w = scratch<Real>(Scratch::local, 2 * n);
  decays(decay_of(in, at, 0), n, w + n, w);
  const Real* const bonus = in.bonus + at.head * n;
  alignas(64) Real v[tile], y[tile] = {};
  std::copy_n(in.value + row + column, tile, v);
  Real direct = 0;
  for (Index i = 0; i < n; ++i) {
    const Real ri = in.receptance[row + i], ki = in.key[row + i], wi = w[i];
    const Real* const from = in.state + matrix + i * n;
    Real* const to = call.final_state + matrix + i * n;
    direct += ri * bonus[i] * ki;
#pragma omp simd
    for (int j = 0; j < tile; ++j) {
      const Real old = from[j];
      y[j] += ri * old;
      to[j] = wi * old + ki * v[j];
    }
  }
  for (int j = 0; j < tile; ++j) call.y[row + column + j] = y[j] + direct * v[j];
}

/// All units of tiles of the same width.
template <int tile, class Real>
void forward_tiles(const Wkv6Forward<Real>& call) {
  const Wkv6Size size = call.in.size;
  const Index tiles = (size.head_size + tile - 1) / tile;
  const bool one_step = is_step(call);
  parallel_simd(size.batch * size.heads * tiles, 1, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index unit = begin; unit < end; ++unit) {
      const Index head = unit / tiles, column = unit % tiles * tile;
      const Index left = size.head_size - column;
      const Head at = {head / size.heads, head % size.heads};
      if (one_step && left >= tile) {
        step_unit<tile>(call, at, column);
      } else {
        forward_unit<tile>(call, at, column, left < tile ? left : tile);
      }
    }
  });
}

}  // namespace

template <class Real>
void wkv6_forward(const Wkv6Forward<Real>& call) {
  if (call.in.size.head_size <= 16) {
    forward_tiles<16>(call);
  } else if (call.in.size.head_size <= 32) {
    forward_tiles<32>(call);
  } else {
    forward_tiles<64>(call);
  }
}

template <class Real>
void wkv6_backward(const Wkv6Backward<Real>& call) {
  MatrixStateBackward<Real> common;
  common.batch = call.in.size.batch;
  common.time = call.in.size.time;
  common.is_reversed = call.in.is_reversed;
  common.heads = call.in.size.heads;
  common.key_size = common.value_size = call.in.size.head_size;
  common.receptance = call.in.receptance;
  common.key = call.in.key;
  common.value = call.in.value;
  common.decay = call.in.decay;
  common.raw_decay = true;
  common.fixed_decay = call.in.fixed_decay;
  common.bonus = call.in.bonus;
  common.kept = call.kept_states;
  common.keys_first = true;
  common.grad_y = call.grad_y;
  common.grad_final_state = call.grad_final_state;
  common.grad_receptance = call.grad_receptance;
  common.grad_key = call.grad_key;
  common.grad_value = call.grad_value;
  common.grad_decay = call.grad_decay;
  common.grad_bonus = call.grad_bonus;
  common.grad_state = call.grad_state;
  matrix_state_backward(common);
}

template void wkv6_forward<float>(const Wkv6Forward<float>&);
template void wkv6_forward<double>(const Wkv6Forward<double>&);
template void wkv6_backward<float>(const Wkv6Backward<float>&);
template void wkv6_backward<double>(const Wkv6Backward<double>&);

}  // namespace rwkvlab::kernels
