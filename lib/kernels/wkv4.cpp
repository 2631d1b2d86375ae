#include "kernels/wkv4.h"

#include <algorithm>
#include <cmath>

#include "kernels/running_exponent.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/vector_math.h"

namespace rwkvlab::kernels {
namespace {

/// Channels that one thread carries through time together: enough independent chains to hide the latency of e^x.
template <class Real>
inline constexpr Index tile_width = 32;

/// Weights of the state and of the current token in y. k is subtracted first: p - k is exact where it matters.
template <class Real>
RWKVLAB_INLINE Weights<Real> output_weights(Real p, Real rest, Real u, Real k) {
  return softmax_pair(((p - k) - u) + rest);
}

/// Asks for the row of a tile that comes some tokens later.
template <class Real>
RWKVLAB_INLINE void prefetch_row(const Real* row, Index channels) {
  constexpr Index ahead = 8;
  prefetch(row + ahead * channels, tile_width<Real>);
}

/// The channels and state of one tile. Local arrays, so that the compiler knows that nothing else points to them.
template <class Real>
struct Tile {
  static constexpr Index width = tile_width<Real>;
  alignas(64) Real w[width];
  alignas(64) Real u[width];
  alignas(64) Real a[width];
  alignas(64) Real b[width];
  alignas(64) Real p[width];
  alignas(64) Real rest[width];
};

/// Where a unit of work lies: one batch row, channels [channel, channel + width).
struct Unit {
  Index batch, channel, width;
};
template <class Real>
RWKVLAB_INLINE Unit unit_at(const SequenceSize& size, Index index) {
  const Index tiles = (size.channels + tile_width<Real> - 1) / tile_width<Real>;
  const Index channel = index % tiles * tile_width<Real>;
  const Index left = size.channels - channel;
  return {index / tiles, channel, left < tile_width<Real> ? left : tile_width<Real>};
}
template <class Real>
Index unit_count(const SequenceSize& size) {
  return size.batch * ((size.channels + tile_width<Real> - 1) / tile_width<Real>);
}

/// Fills the tile for a unit; `state` is null for the empty state.
template <class Sum, class Real>
RWKVLAB_INLINE void load_tile(Tile<Sum>& tile, const Unit& unit, Index channels, const Real* time_decay,
                              const Real* time_first, const Real* state) {
  for (Index c = 0; c < unit.width; ++c) {
    const Index channel = unit.channel + c;
    // std::exp, because an error of the decay is multiplied by the length of the memory.
    tile.w[c] = -std::exp(static_cast<Sum>(time_decay[channel]));
    tile.u[c] = time_first[channel];
    const Real* row = state == nullptr ? nullptr : state + unit.batch * 3 * channels + channel;
    tile.a[c] = row == nullptr ? Sum(0) : row[0];
    tile.b[c] = row == nullptr ? Sum(0) : row[channels];
    tile.p[c] = row == nullptr ? static_cast<Sum>(empty_state_exponent) : row[2 * channels];
    tile.rest[c] = 0;
  }
}

/// Forward pass of one unit. `full` makes the width a constant, which keeps the tile in registers.
template <bool full, class Real>
RWKVLAB_INLINE void forward_unit(const Wkv4Forward<Real>& call, const Unit& unit) {
  Tile<Real> tile;
  load_tile(tile, unit, call.size.channels, call.time_decay, call.time_first, call.state);
  const Index channels = call.size.channels;
  const Index width = full ? Tile<Real>::width : unit.width;
  Index at = unit.batch * call.size.time * channels + unit.channel;
  for (Index t = 0; t < call.size.time; ++t, at += channels) {
    const Real* key = call.key + at;
    const Real* value = call.value + at;
    Real* y = call.y + at;
    prefetch_row(key, channels), prefetch_row(value, channels);
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Real k = key[c], v = value[c], a = tile.a[c], b = tile.b[c];
      const Weights<Real> out = output_weights(tile.p[c], tile.rest[c], tile.u[c], k);
      y[c] = (out.x * a + out.y * v) / (out.x * b + out.y);
      const Step<Real> next = advance(tile.p[c], tile.rest[c], tile.w[c], k);
      tile.a[c] = next.weights.x * a + next.weights.y * v;
      tile.b[c] = next.weights.x * b + next.weights.y;
      tile.p[c] = next.p;
      tile.rest[c] = next.rest;
    }
  }
  if (call.final_state == nullptr) return;
  Real* row = call.final_state + unit.batch * 3 * channels + unit.channel;
  for (Index c = 0; c < width; ++c) {
    row[c] = tile.a[c] * (1 + tile.rest[c]);  // e^rest to the last digit: the state has no place for it.
    row[channels + c] = tile.b[c] * (1 + tile.rest[c]);
    row[2 * channels + c] = tile.p[c];
  }
}

/// What the descending pass needs of each token: [time, tile width] each.
template <class Real>
struct Trace {
  Real* y;
  Real* through;  ///< grad_y / denominator * weight of the state in y: the gradient that reaches a through y_t
  Real* direct;   ///< grad_y / denominator * weight of the token in y: the gradient that reaches v_t through y_t
  Real* keep;     ///< weight of the old state in the new one
  Real* enter;    ///< weight of the token in the new state
};

/// Ascending pass of the gradient: fills the trace and sums the parameters' gradients of this unit into dw and du. On
/// return the tile holds the final state. Sums and weights are of the type Sum (see gradient_needs_double).
template <bool full, class Sum, class Real>
RWKVLAB_INLINE void ascend(const Wkv4Backward<Real>& call, const Unit& unit, Tile<Sum>& tile, const Trace<Sum>& trace,
                           Real* dw_out, Real* du_out) {
  constexpr Index stride = Tile<Sum>::width;
  const Index channels = call.size.channels;
  const Index width = full ? stride : unit.width;
  // alpha = da/dw, beta = db/dw, both times e^-p like a and b.
  alignas(64) Sum alpha[stride] = {}, beta[stride] = {}, dw[stride] = {}, du[stride] = {};
  Index at = unit.batch * call.size.time * channels + unit.channel;
  for (Index t = 0; t < call.size.time; ++t, at += channels) {
    const Real* key = call.key + at;
    const Real* value = call.value + at;
    const Real* grad_y = call.grad_y + at;
    const Index row = t * stride;
    prefetch_row(key, channels), prefetch_row(value, channels), prefetch_row(grad_y, channels);
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Sum k = key[c], v = value[c], a = tile.a[c], b = tile.b[c];
      const Weights<Sum> out = output_weights(tile.p[c], tile.rest[c], tile.u[c], k);
      const Sum inverse = 1 / (out.x * b + out.y);
      const Sum y = (out.x * a + out.y * v) * inverse;
      const Sum q = grad_y[c] * inverse;
      const Sum through = q * out.x, direct = q * out.y;
      const Step<Sum> next = advance(tile.p[c], tile.rest[c], tile.w[c], k);
      const Sum keep = next.weights.x, enter = next.weights.y;
      trace.y[row + c] = y;
      trace.through[row + c] = through;
      trace.direct[row + c] = direct;
      trace.keep[row + c] = keep;
      trace.enter[row + c] = enter;
      dw[c] += (alpha[c] - beta[c] * y) * through;
      du[c] += (v - y) * direct;
      alpha[c] = keep * (a + alpha[c]);
      beta[c] = keep * (b + beta[c]);
      tile.a[c] = keep * a + enter * v;
      tile.b[c] = keep * b + enter;
      tile.p[c] = next.p;
      tile.rest[c] = next.rest;
    }
  }
  if (call.grad_final_state != nullptr) {
    const Real* row = call.grad_final_state + unit.batch * 3 * channels + unit.channel;
    for (Index c = 0; c < width; ++c) {
      dw[c] += (alpha[c] * row[c] + beta[c] * row[channels + c]) * (1 + tile.rest[c]);
    }
  }
  for (Index c = 0; c < width; ++c) {
    // d time_decay = w dw, because w = -exp(time_decay).
    dw_out[c] = static_cast<Real>(dw[c] * tile.w[c]);
    du_out[c] = static_cast<Real>(du[c]);
  }
}

/// Descending pass: gradients of key, value and the first state. The exponents p are constants here, because y does not
/// depend on how a state is split into a, b and p; so G = dL/da and H = dL/db of the scaled a and b, and all weights
/// are at most 1.
template <bool full, class Sum, class Real>
RWKVLAB_INLINE void descend(const Wkv4Backward<Real>& call, const Unit& unit, const Tile<Sum>& tile,
                            const Trace<Sum>& trace) {
  constexpr Index stride = Tile<Sum>::width;
  const Index channels = call.size.channels;
  const Index width = full ? stride : unit.width;
  const Index state_at = unit.batch * 3 * channels + unit.channel;
  alignas(64) Sum G[stride] = {}, H[stride] = {};
  if (call.grad_final_state != nullptr) {
    for (Index c = 0; c < width; ++c) {
      G[c] = call.grad_final_state[state_at + c] * (1 + tile.rest[c]);
      H[c] = call.grad_final_state[state_at + channels + c] * (1 + tile.rest[c]);
    }
  }
  for (Index t = call.size.time - 1; t >= 0; --t) {
    const Index at = (unit.batch * call.size.time + t) * channels + unit.channel;
    const Real* value = call.value + at;
    Real* grad_key = call.grad_key + at;
    Real* grad_value = call.grad_value + at;
    const Index row = t * stride;
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Sum v = value[c], y = trace.y[row + c];
      const Sum through = trace.through[row + c], direct = trace.direct[row + c];
      const Sum keep = trace.keep[row + c], enter = trace.enter[row + c];
      grad_key[c] = static_cast<Real>(direct * (v - y) + enter * (G[c] * v + H[c]));
      grad_value[c] = static_cast<Real>(direct + enter * G[c]);
      G[c] = keep * G[c] + through;
      H[c] = keep * H[c] - through * y;
    }
  }
  if (call.grad_state == nullptr) return;
  for (Index c = 0; c < width; ++c) {
    const Real* state = call.state == nullptr ? nullptr : call.state + state_at + c;
    Real* grad = call.grad_state + state_at + c;
    grad[0] = static_cast<Real>(G[c]);
    grad[channels] = static_cast<Real>(H[c]);
    grad[2 * channels] = static_cast<Real>(state == nullptr ? Sum(0) : state[0] * G[c] + state[channels] * H[c]);
  }
}

/// Whether float is too coarse for the gradients of this unit. Where one key outweighs all others, the gradients are
/// differences of nearly equal numbers (v - y, alpha - beta y), and the weights themselves carry the rounding of
/// exponents of the keys' size. Ordinary keys stay well below the bound; beyond it, sums and weights are kept in
/// double.
template <class Real>
RWKVLAB_INLINE bool gradient_needs_double(const Wkv4Backward<Real>& call, const Unit& unit) {
  constexpr Real bound = 8;
  alignas(64) Real largest[tile_width<Real>] = {};  // Of each channel: maxima of one row would wait for each other.
  Index at = unit.batch * call.size.time * call.size.channels + unit.channel;
  for (Index t = 0; t < call.size.time; ++t, at += call.size.channels) {
    const Real* key = call.key + at;
    prefetch_row(key, call.size.channels);
#pragma omp simd
    for (Index c = 0; c < unit.width; ++c) {
      const Real magnitude = std::fabs(key[c]);
      largest[c] = magnitude > largest[c] ? magnitude : largest[c];
    }
  }
  return *std::max_element(largest, largest + tile_width<Real>) > bound;
}

template <bool full, class Sum, class Real>
RWKVLAB_INLINE void backward_unit(const Wkv4Backward<Real>& call, const Unit& unit, Real* dw, Real* du) {
  const Index traced = call.size.time * tile_width<Sum>;
  Sum* memory = scratch<Sum>(Scratch::local, 5 * traced);
  const Trace<Sum> trace{memory, memory + traced, memory + 2 * traced, memory + 3 * traced, memory + 4 * traced};
  Tile<Sum> tile;
  load_tile(tile, unit, call.size.channels, call.time_decay, call.time_first, call.state);
  ascend<full>(call, unit, tile, trace, dw, du);
  descend<full>(call, unit, tile, trace);
}

}  // namespace

template <class Real>
void wkv4_forward(const Wkv4Forward<Real>& call) {
  parallel_simd(unit_count<Real>(call.size), 1, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index index = begin; index < end; ++index) {
      const Unit unit = unit_at<Real>(call.size, index);
      if (unit.width == tile_width<Real>) {
        forward_unit<true>(call, unit);
      } else {
        forward_unit<false>(call, unit);
      }
    }
  });
}

template <class Real>
void wkv4_backward(const Wkv4Backward<Real>& call) {
  const Index batch = call.size.batch, channels = call.size.channels;
  Real* dw = scratch<Real>(Scratch::partials, 2 * batch * channels);
  Real* du = dw + batch * channels;
  parallel_simd(unit_count<Real>(call.size), 1, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index index = begin; index < end; ++index) {
      const Unit unit = unit_at<Real>(call.size, index);
      const Index at = unit.batch * channels + unit.channel;
      if (gradient_needs_double(call, unit)) {
        backward_unit<false, double>(call, unit, dw + at, du + at);
      } else if (unit.width == tile_width<Real>) {
        backward_unit<true, Real>(call, unit, dw + at, du + at);
      } else {
        backward_unit<false, Real>(call, unit, dw + at, du + at);
      }
    }
  });
  std::fill(call.grad_time_decay, call.grad_time_decay + channels, Real(0));
  std::fill(call.grad_time_first, call.grad_time_first + channels, Real(0));
  for (Index row = 0; row < batch; ++row) {
    for (Index c = 0; c < channels; ++c) {
      call.grad_time_decay[c] += dw[row * channels + c];
      call.grad_time_first[c] += du[row * channels + c];
    }
  }
}

template void wkv4_forward<float>(const Wkv4Forward<float>&);
template void wkv4_forward<double>(const Wkv4Forward<double>&);
template void wkv4_backward<float>(const Wkv4Backward<float>&);
template void wkv4_backward<double>(const Wkv4Backward<double>&);

}  // namespace rwkvlab::kernels
