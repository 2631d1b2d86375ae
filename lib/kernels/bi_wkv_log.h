// Bi-WKV with an exponent for every sum of every token: for decays, bonuses and keys that plain sums cannot hold. A
// unit is all tokens of a batch entry for a tile of channels. Names as in bi_wkv.h; every exponent that is formed is
// the logarithm of a share, so at most 0 up to rounding. Included by this folder's sources only.
#pragma once

#include "kernels/bi_wkv_chunk.h"
#include "kernels/running_exponent.h"

namespace rwkvlab::kernels::bi_wkv {

/// Sums a e^p, b e^p that a scan carries, p held as p + rest.
template <class Real>
struct Scan {
  alignas(64) Real a[tile] = {}, b[tile] = {}, p[tile], rest[tile] = {};
  Scan() { std::fill_n(p, tile, static_cast<Real>(empty_exponent)); }
  RWKVLAB_INLINE void step(Index c, Real w, Real k, Real x, Real y) {
    const Step<Real> next = advance(p[c], rest[c], -w, k);
    a[c] = next.weights.x * a[c] + next.weights.y * x;
    b[c] = next.weights.x * b[c] + next.weights.y * y;
    p[c] = next.p;
    rest[c] = next.rest;
  }
};

/// What a scan holds before every token, [tokens, tile] each.
template <class Real>
struct ScanTrace {
  Real *a, *b, *p;
  RWKVLAB_INLINE void keep(const Scan<Real>& scan, Index row, Index c) const {
    a[row + c] = scan.a[c];
    b[row + c] = scan.b[c];
    p[row + c] = scan.p[c] + scan.rest[c];
  }
};
template <class Real>
RWKVLAB_INLINE ScanTrace<Real> scan_trace(Real* memory, Index tokens) {
  return {memory, memory + tokens * tile, memory + 2 * tokens * tile};
}

/// y, and the logarithm z of the denominator.
template <class Real>
struct Output {
  Real y, z;
};
template <class Real>
RWKVLAB_INLINE Output<Real> output(Real left_a, Real left_b, Real left_p, Real right_a, Real right_b, Real right_p,
                                   Real now, Real v) {
  const Real ends = left_p > right_p ? left_p : right_p;
  const Real m = ends > now ? ends : now;
  const Real left = vector_exp_nonpositive(left_p - m), right = vector_exp_nonpositive(right_p - m);
  const Real own = vector_exp_nonpositive(now - m);
  const Real denominator = left_b * left + right_b * right + own;
  return {(left_a * left + right_a * right + v * own) / denominator, m + vector_log(denominator)};
}

/// y of the unit that begins at `piece`.
template <class Real>
RWKVLAB_INLINE void log_forward(const BiWkvInputs<Real>& in, const Piece& piece, Real* y) {
  const Index channels = in.size.channels, time = in.size.time;
  const ScanTrace<Real> later = scan_trace(scratch<Real>(Scratch::local, 3 * time * tile), time);
  Scan<Real> right, left;
  const Real* const w = in.decay + piece.channel;
  const Real* const u = in.first + piece.channel;
  for (Index t = time - 1; t >= 0; --t) {
    const Index at = piece.start + t * channels;
#pragma omp simd
    for (Index c = 0; c < piece.width; ++c) {
      later.keep(right, t * tile, c);
      if (!in.is_causal) right.step(c, w[c], in.key[at + c], in.value[at + c], 1);
    }
  }
  for (Index t = 0; t < time; ++t) {
    const Index at = piece.start + t * channels, row = t * tile;
#pragma omp simd
    for (Index c = 0; c < piece.width; ++c) {
      const Real k = in.key[at + c], v = in.value[at + c];
      y[at + c] = output(left.a[c], left.b[c], left.p[c] + left.rest[c], later.a[row + c], later.b[row + c],
                         later.p[row + c], u[c] + k, v)
                      .y;
      left.step(c, w[c], k, v, 1);
    }
  }
}

/// Gradients of the unit that begins at `piece`; those of w and u in grad_rates [2, tile].
template <class Real>
RWKVLAB_INLINE void log_backward(const BiWkvInputs<Real>& in, const Piece& piece, const BiWkvGradients<Real>& gradients,
                                 Real* grad_rates) {
  const Index channels = in.size.channels, time = in.size.time, width = piece.width;
  Real* const memory = scratch<Real>(Scratch::local, 8 * time * tile);
  const ScanTrace<Real> earlier = scan_trace(memory, time), later = scan_trace(memory + 3 * time * tile, time);
  Real* const kept_y = memory + 6 * time * tile;
  Real* const kept_z = memory + 7 * time * tile;
  const Real* const w = in.decay + piece.channel;
  const Real* const u = in.first + piece.channel;
  alignas(64) Real dw[tile] = {}, du[tile] = {};
  Scan<Real> left, right, left_gradient, right_gradient;
  for (Index t = 0; t < time; ++t) {
    const Index at = piece.start + t * channels;
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      earlier.keep(left, t * tile, c);
      left.step(c, w[c], in.key[at + c], in.value[at + c], 1);
    }
  }
  for (Index t = time - 1; t >= 0; --t) {
    const Index at = piece.start + t * channels, row = t * tile;
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Real k = in.key[at + c], v = in.value[at + c], g = gradients.grad_y[at + c];
      later.keep(right, row, c);
      const Output<Real> out = output(earlier.a[row + c], earlier.b[row + c], earlier.p[row + c], right.a[c],
                                      right.b[c], right.p[c] + right.rest[c], u[c] + k, v);
      const Real own = vector_exp(u[c] + k - out.z) * g, p = right_gradient.p[c] + right_gradient.rest[c];
      const Real reach = vector_exp(k + p), a = right_gradient.a[c], b = right_gradient.b[c];
      gradients.grad_value[at + c] = own + reach * a;
      gradients.grad_key[at + c] = own * (v - out.y) + reach * (v * a - b);
      du[c] += own * (v - out.y);
      dw[c] -= vector_exp(earlier.p[row + c] + p - w[c]) * (earlier.a[row + c] * a - earlier.b[row + c] * b);
      kept_y[row + c] = out.y;
      kept_z[row + c] = out.z;
      right_gradient.step(c, w[c], -out.z, g, g * out.y);
      if (!in.is_causal) right.step(c, w[c], k, v, 1);
    }
  }
  for (Index t = 0; t < time && !in.is_causal; ++t) {
    const Index at = piece.start + t * channels, row = t * tile;
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Real v = in.value[at + c], g = gradients.grad_y[at + c];
      const Real p = left_gradient.p[c] + left_gradient.rest[c];
      const Real reach = vector_exp(in.key[at + c] + p), a = left_gradient.a[c], b = left_gradient.b[c];
      gradients.grad_value[at + c] += reach * a;
      gradients.grad_key[at + c] += reach * (v * a - b);
      dw[c] -= vector_exp(later.p[row + c] + p - w[c]) * (later.a[row + c] * a - later.b[row + c] * b);
      left_gradient.step(c, w[c], -kept_z[row + c], g, g * kept_y[row + c]);
    }
  }
  for (Index c = 0; c < width; ++c) {
    grad_rates[c] = dw[c];
    grad_rates[tile + c] = du[c];
  }
}

}  // namespace rwkvlab::kernels::bi_wkv
