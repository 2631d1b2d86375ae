// The gradient of one piece of Bi-WKV, by plain sums: see bi_wkv_chunk.h. Included by this folder's sources only.
#pragma once

#include "kernels/bi_wkv_chunk.h"

namespace rwkvlab::kernels::bi_wkv {

/// Of a chunk, [tokens, tile] each.
template <class Real>
struct ChunkTrace {
  explicit ChunkTrace(Index tokens)
      : a(scratch<Real>(Scratch::local, 6 * tokens * tile)),
        b(a + tokens * tile),
        h(b + tokens * tile),
        hy(h + tokens * tile),
        sum_h(hy + tokens * tile),
        sum_hy(sum_h + tokens * tile) {}
  Real *a, *b;           ///< A_R and D_R, then A_L and D_L
  Real *h, *hy;          ///< grad_y / denominator, and times y
  Real *sum_h, *sum_hy;  ///< G_L + e^u h and H_L + e^u h y
};

/// The chunk's own sums of h and h y, as they reach its ends, in `gradient_sums`. `weights` is what weigh left.
template <bool full, class Real>
RWKVLAB_INLINE void sum_gradients(const BiWkvInputs<Real>& in, const Rates<Real>& rates, const Piece& piece,
                                  const Start<Real>& start, const Real* grad_y, const Real* weights,
                                  ChunkSums<Real>& gradient_sums) {
  const Index width = full ? tile : piece.width, channels = in.size.channels;
  const ChunkTrace<Real> trace(piece.tokens);
  sum_later<full>(in, rates, piece, start, weights, trace.a, trace.b);
  alignas(64) Real a[tile], b[tile];
  for (Index c = 0; c < tile; ++c) {
    a[c] = start.left_a[c];
    b[c] = start.left_b[c];
  }
  EndSums<Real> ends;
  const Real* const fade = rates.fade + piece.channel;
  const Real* const bonus = rates.bonus + piece.channel;
  for (Index t = 0; t < piece.tokens; ++t) {
    const Index at = piece.start + t * channels;
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Real weight = start.own[c] * weights[at + c], v = in.value[at + c], now = bonus[c] * weight;
      const Real inverse = 1 / (b[c] + trace.b[t * tile + c] + now);
      const Real h = grad_y[at + c] * inverse;
      ends.add(c, fade[c], h, h * ((a[c] + trace.a[t * tile + c] + now * v) * inverse));
      a[c] = fade[c] * a[c] + weight * v;
      b[c] = fade[c] * b[c] + weight;
    }
  }
  // Tokens before t are read by it, whatever the form; those after it in the bidirectional form alone.
  ends.write(gradient_sums, in.is_causal ? 0 : 1, 1);
  for (Index c = 0; c < tile; ++c) gradient_sums.left.q[c] = gradient_sums.right.q[c] = -start.anchor[c];
}

/// Sums of h and h y that reach a chunk from one side, on its scale.
template <class Real>
struct GradientStart {
  alignas(64) Real h[tile] = {}, hy[tile] = {};
  GradientStart() = default;
  RWKVLAB_INLINE GradientStart(const Sums<Real>& sums, const Start<Real>& start) {
    for (Index c = 0; c < tile; ++c) {
      const Real scale = vector_exp(static_cast<Real>(sums.q[c] + start.anchor[c]));
      h[c] = scale * sums.a[c];
      hy[c] = scale * sums.b[c];
    }
  }
};

/// Gradients of a chunk; those of w and u of its tokens in grad_rates [2, tile]. `gradients.grad_key` holds what weigh
/// left there. left_gradients, right_gradients: of the other chunks.
template <bool full, class Real>
RWKVLAB_INLINE void backward_chunk(const BiWkvInputs<Real>& in, const Rates<Real>& rates, const Piece& piece,
                                   const Start<Real>& start, const GradientStart<Real>& left_gradients,
                                   const GradientStart<Real>& right_gradients, const BiWkvGradients<Real>& gradients,
                                   Real* grad_rates) {
  const Index width = full ? tile : piece.width, channels = in.size.channels;
  GradientStart<Real> from_left = left_gradients, from_right = right_gradients;
  const ChunkTrace<Real> trace(piece.tokens);
  sum_later<full>(in, rates, piece, start, gradients.grad_key, trace.a, trace.b);
  const Real* const fade = rates.fade + piece.channel;
  const Real* const bonus = rates.bonus + piece.channel;
  alignas(64) Real a[tile], b[tile], dw[tile] = {}, du[tile] = {};
  for (Index c = 0; c < tile; ++c) {
    a[c] = start.left_a[c];
    b[c] = start.left_b[c];
  }
  const Real reached = in.is_causal ? 0 : 1;
  for (Index t = 0; t < piece.tokens; ++t) {
    const Index at = piece.start + t * channels, row = t * tile;
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Real weight = start.own[c] * gradients.grad_key[at + c], v = in.value[at + c], now = bonus[c] * weight;
      const Real later_a = trace.a[row + c], later_b = trace.b[row + c];
      const Real inverse = 1 / (b[c] + later_b + now);
      const Real y = (a[c] + later_a + now * v) * inverse;
      const Real h = gradients.grad_y[at + c] * inverse, hy = h * y;
      trace.a[row + c] = a[c];
      trace.b[row + c] = b[c];
      trace.h[row + c] = h;
      trace.hy[row + c] = hy;
      trace.sum_h[row + c] = from_left.h[c] + bonus[c] * h;
      trace.sum_hy[row + c] = from_left.hy[c] + bonus[c] * hy;
      dw[c] += later_a * from_left.h[c] - later_b * from_left.hy[c];
      du[c] += now * h * (v - y);
      a[c] = fade[c] * a[c] + weight * v;
      b[c] = fade[c] * b[c] + weight;
      from_left.h[c] = fade[c] * from_left.h[c] + reached * h;
      from_left.hy[c] = fade[c] * from_left.hy[c] + reached * hy;
    }
  }
  for (Index t = piece.tokens - 1; t >= 0; --t) {
    const Index at = piece.start + t * channels, row = t * tile;
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Real weight = start.own[c] * gradients.grad_key[at + c];
      const Real sum_h = trace.sum_h[row + c] + from_right.h[c], sum_hy = trace.sum_hy[row + c] + from_right.hy[c];
      dw[c] += trace.a[row + c] * from_right.h[c] - trace.b[row + c] * from_right.hy[c];
      gradients.grad_value[at + c] = weight * sum_h;
      gradients.grad_key[at + c] = weight * (in.value[at + c] * sum_h - sum_hy);
      from_right.h[c] = fade[c] * from_right.h[c] + trace.h[row + c];
      from_right.hy[c] = fade[c] * from_right.hy[c] + trace.hy[row + c];
    }
  }
  for (Index c = 0; c < width; ++c) {
    grad_rates[c] = -fade[c] * dw[c];
    grad_rates[tile + c] = du[c];
  }
}

}  // namespace rwkvlab::kernels::bi_wkv
