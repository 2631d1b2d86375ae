// The gradient of one piece of Bi-WKV, by plain sums: see bi_wkv_chunk.h. Included by this folder's sources only.
#pragma once

#include "kernels/bi_wkv_chunk.h"

namespace rwkvlab::kernels::bi_wkv {

/// What the pass over a chunk from its left end leaves for the one from its right end, [tokens, tile] each.
template <class Real>
struct ChunkTrace {
  explicit ChunkTrace(Index tokens)
      : weight(scratch<Real>(Scratch::local, 5 * tokens * tile)),
        a(weight + tokens * tile),
        b(a + tokens * tile),
        h(b + tokens * tile),
        hy(h + tokens * tile) {}
  Real* weight;  ///< of the tokens
  Real *a, *b;   ///< A_L and D_L
  Real *h, *hy;  ///< G_L and H_L
};

/// The chunk's own sums of h and h y, as they reach its ends, in `gradient_sums`.
template <bool full, class Real>
RWKVLAB_INLINE void sum_gradients(const BiWkvInputs<Real>& in, const Rates<Real>& rates, const Piece& piece,
                                  const Start<Real>& start, const Real* inverses, const BiWkvGradients<Real>& gradients,
                                  ChunkSums<Real>& gradient_sums) {
  const Index width = full ? tile : piece.width, channels = in.size.channels;
  EndSums<Real> ends;
  const Real* const fade = rates.fade + piece.channel;
  for (Index t = 0; t < piece.tokens; ++t) {
    const Index at = piece.start + t * channels, later = at + rows_ahead * channels;
    prefetch(gradients.grad_y + later, width), prefetch(inverses + later, width), prefetch(gradients.y + later, width);
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Real h = gradients.grad_y[at + c] * inverses[at + c];
      ends.add(c, fade[c], h, h * gradients.y[at + c]);
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

/// Gradients of a chunk; those of w and u of its tokens in grad_rates [2, tile]. left_gradients, right_gradients: of
/// the other chunks.
template <bool full, class Real>
RWKVLAB_INLINE void backward_chunk(const BiWkvInputs<Real>& in, const Rates<Real>& rates, const Piece& piece,
                                   const Start<Real>& start, const Real* inverses,
                                   const GradientStart<Real>& left_gradients,
                                   const GradientStart<Real>& right_gradients, const BiWkvGradients<Real>& gradients,
                                   Index next, Real* grad_rates) {
  const Index width = full ? tile : piece.width, channels = in.size.channels;
  GradientStart<Real> left = left_gradients, right = right_gradients;
  const ChunkTrace<Real> trace(piece.tokens);
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
      const Real weight = start.own[c] * vector_exp_nonpositive(in.key[at + c] - start.largest[c]);
      const Real v = in.value[at + c], y = gradients.y[at + c];
      const Real h = gradients.grad_y[at + c] * inverses[at + c];
      trace.weight[row + c] = weight;
      trace.a[row + c] = a[c];
      trace.b[row + c] = b[c];
      trace.h[row + c] = left.h[c];
      trace.hy[row + c] = left.hy[c];
      du[c] += weight * h * (v - y);
      a[c] = fade[c] * a[c] + weight * v;
      b[c] = fade[c] * b[c] + weight;
      left.h[c] = fade[c] * left.h[c] + reached * h;
      left.hy[c] = fade[c] * left.hy[c] + reached * h * y;
    }
  }
  for (Index c = 0; c < tile; ++c) {
    a[c] = start.right_a[c];
    b[c] = start.right_b[c];
  }
  for (Index t = piece.tokens - 1; t >= 0; --t) {
    const Index at = piece.start + t * channels, row = t * tile, ahead = t * channels;
    for (const Real* const array : {inverses, gradients.y, gradients.grad_y, in.key, in.value})
      prefetch<2>(array + next + ahead, width);
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Real weight = trace.weight[row + c], v = in.value[at + c];
      const Real h = gradients.grad_y[at + c] * inverses[at + c], hy = h * gradients.y[at + c];
      const Real left_h = trace.h[row + c], left_hy = trace.hy[row + c];
      const Real sum_h = left_h + right.h[c] + bonus[c] * h, sum_hy = left_hy + right.hy[c] + bonus[c] * hy;
      dw[c] += trace.a[row + c] * right.h[c] - trace.b[row + c] * right.hy[c] + (a[c] * left_h - b[c] * left_hy);
      gradients.grad_value[at + c] = weight * sum_h;
      gradients.grad_key[at + c] = weight * (v * sum_h - sum_hy);
      right.h[c] = fade[c] * right.h[c] + h;
      right.hy[c] = fade[c] * right.hy[c] + hy;
      a[c] = fade[c] * a[c] + reached * weight * v;
      b[c] = fade[c] * b[c] + reached * weight;
    }
  }
  for (Index c = 0; c < width; ++c) {
    grad_rates[c] = -fade[c] * dw[c];
    grad_rates[tile + c] = bonus[c] * du[c];
  }
}

}  // namespace rwkvlab::kernels::bi_wkv
