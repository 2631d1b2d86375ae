// One chunk of tokens of one head on the way back through a matrix-valued state; the equations are in
// matrix_state_backward.h. Included by matrix_state_backward.cpp only.
#pragma once

#include <algorithm>

#include "kernels/simd.h"
#include "kernels/tile_product.h"
#include "kernels/vector_math.h"

namespace rwkvlab::kernels {

/// Tokens of a chunk.
inline constexpr Index chunk_tokens = tile_lanes;
/// Value rows that the token-by-token form carries together: what it reads per key serves all of them.
inline constexpr int row_block = 4;

/// The numbers of one chunk, padded with zeros: `keys` and `values` are multiples of tile_lanes, and there are always
/// chunk_tokens rows. Where two arrays are stacked, the second one's rows follow the first one's, and are used with the
/// delta rule only. States and their gradient are [values, keys].
template <class Real>
struct MatrixStateChunk {
  static constexpr Index rows = chunk_tokens;
  Index keys = 0, values = 0;
  Index tokens = 0;                    ///< not padded
  bool safe = false;                   ///< whether the factors of the matrix form are
  Real *r, *k, *a, *b;                 ///< [rows, keys]
  Real* log_decay;                     ///< [rows, keys]
  Real *from_r, *from_a, *to;          ///< [rows, keys]: e^(i-c) or e^(p-c), e^(p-c), e^(c-i)
  Real *enter, *leave;                 ///< [keys]: e^c, e^(end-c)
  Real *left, *right;                  ///< [2 rows, keys]: R' over A', K' over B'
  Real *grads, *inputs;                ///< [2 rows, values]: G over W, V over U
  Real* right_columns;                 ///< [keys, 2 rows], `right` transposed
  Real *input_columns, *grad_columns;  ///< [values, 2 rows]: `inputs` transposed, and the gradient of the inputs
  Real* grad_inputs;                   ///< [2 rows, values]: dV over dU
  Real *scores, *grad_scores;          ///< [2 rows, 2 rows]: M and dM
  Real *grad_left, *grad_right;        ///< [2 rows, keys]: dR over dA, dK over dB
  Real *near_left, *near_right;        ///< [2 rows, keys]: what other tokens of the chunk add to those
  Real* grad_log_decay;                ///< [rows, keys]
  Real* along;                         ///< [2 rows]: g · v over g · u
  Real* running;                       ///< [keys]
  Real *bonus, *grad_bonus;            ///< [keys]
  Real* grad_fixed_decay;              ///< [keys]
  Real* entering;                      ///< [values, keys], P'
  Real* grad_state;                    ///< [values, keys], D
  Real* token_states;                  ///< [rows + 1, row_block, keys], for the token-by-token form

  /// The parts that hold a chunk's own numbers, one set for each chunk of a stretch.
  template <class Take>
  void place_numbers(const Take& take) {
    for (Real** part : {&r, &k, &a, &b, &log_decay, &from_r, &from_a, &to}) take(*part, rows * keys);
    for (Real** part : {&enter, &leave}) take(*part, keys);
    for (Real** part : {&left, &right}) take(*part, 2 * rows * keys);
    for (Real** part : {&grads, &inputs}) take(*part, 2 * rows * values);
  }
  /// The parts to work in, which all chunks share.
  template <class Take>
  void place_work(const Take& take) {
    take(grad_log_decay, rows * keys);
    for (Real** part : {&running, &bonus, &grad_bonus, &grad_fixed_decay}) take(*part, keys);
    for (Real** part : {&right_columns, &grad_left, &grad_right, &near_left, &near_right}) take(*part, 2 * rows * keys);
    for (Real** part : {&input_columns, &grad_columns, &grad_inputs}) take(*part, 2 * rows * values);
    for (Real** part : {&scores, &grad_scores}) take(*part, 4 * rows * rows);
    for (Real** part : {&entering, &grad_state}) take(*part, values * keys);
    take(along, 2 * rows);
    take(token_states, (rows + 1) * row_block * keys);
  }
};

/// Exponents, cumulative from the chunk's middle, up to which the matrix form is used. In float32 an exponent of this
/// size is rounded by 1e-6, and so is the factor, relative to its size; products of two factors stay far from the
/// largest float. Strong decays of a single channel send the whole head token by token, which takes two to three times
/// longer.
inline constexpr double largest_exponent = 20;
/// Shorter chunks cost less token by token.
inline constexpr Index fewest_matrix_tokens = 4;

/// `safe`, and when it is, the factors and the stacked right (and for the way back left) factors.
template <bool delta, bool bonus, class Real>
RWKVLAB_CLONES void chunk_factors(MatrixStateChunk<Real>& c) {
  const Index keys = c.keys, rows = c.rows, middle = (rows / 2 - 1) * keys;
  Real* const inclusive = c.to;
  for (Index n = 0; n < keys; ++n) inclusive[n] = c.log_decay[n];
  for (Index t = 1; t < rows; ++t) {
#pragma omp simd
    for (Index n = 0; n < keys; ++n)
      inclusive[t * keys + n] = inclusive[(t - 1) * keys + n] + c.log_decay[t * keys + n];
  }
  Real* const center = c.enter;
  const Real* const last = inclusive + (rows - 1) * keys;
  Real unsafe = 0;
  for (Index n = 0; n < keys; ++n) center[n] = inclusive[middle + n];
#pragma omp simd reduction(+ : unsafe)
  for (Index n = 0; n < keys; ++n) {
    const Real before = -center[n], after = center[n] - last[n], limit = Real(largest_exponent);
    // Log decays are 0 or less, so that the ends are the extremes; a NaN is not safe.
    const bool fits = before <= limit && after <= limit && before >= -limit && after >= -limit;
    unsafe += fits ? Real(0) : Real(1);
  }
  c.safe = unsafe == 0 && c.tokens >= fewest_matrix_tokens;
  if (!c.safe) return;
  for (Index n = 0; n < keys; ++n) c.leave[n] = last[n] - center[n];
  for (Index t = 0; t < rows; ++t) {
    const Index at = t * keys;
#pragma omp simd
    for (Index n = 0; n < keys; ++n) {
      const Real offset = inclusive[at + n] - center[n];
      const Real whole = vector_exp(offset), back = vector_exp(-offset);
      const Real part = vector_exp(offset - c.log_decay[at + n]);
      c.from_r[at + n] = bonus ? part : whole;
      if (delta) c.from_a[at + n] = part;
      c.to[at + n] = back;
    }
  }
#pragma omp simd
  for (Index n = 0; n < keys; ++n) {
    c.enter[n] = vector_exp(center[n]);
    c.leave[n] = vector_exp(c.leave[n]);
  }
  const Index count = rows * keys;
#pragma omp simd
  for (Index i = 0; i < count; ++i) {
    c.left[i] = c.r[i] * c.from_r[i];
    c.right[i] = c.k[i] * c.to[i];
    if (delta) c.left[count + i] = c.a[i] * c.from_a[i];
    if (delta) c.right[count + i] = c.b[i] * c.to[i];
  }
}

/// to[row][n] = from[row][n] by[n]
template <class Real>
RWKVLAB_CLONES void scale_columns(const Real* from, Index rows, Index columns, const Real* by, Real* to) {
  for (Index row = 0; row < rows; ++row) {
#pragma omp simd
    for (Index n = 0; n < columns; ++n) to[row * columns + n] = from[row * columns + n] * by[n];
  }
}

/// The state after the chunk in place of the one before it, token by token.
template <bool delta, class Real>
RWKVLAB_CLONES void advance_in_tokens(const MatrixStateChunk<Real>& c, Real* states) {
  for (Index t = 0; t < c.tokens; ++t) {
    for (Index n = 0; n < c.keys; ++n) c.running[n] = vector_exp(c.log_decay[t * c.keys + n]);
    for (Index i = 0; i < c.values; ++i) {
      const Real v = c.inputs[t * c.values + i], u = delta ? c.inputs[(c.rows + t) * c.values + i] : Real(0);
      Real* const state = states + i * c.keys;
#pragma omp simd
      for (Index n = 0; n < c.keys; ++n) {
        Real next = state[n] * c.running[n] + v * c.k[t * c.keys + n];
        if (delta) next += u * c.b[t * c.keys + n];
        state[n] = next;
      }
    }
  }
}

/// The state after the chunk from the one before it.
template <bool delta, class Real>
void advance_state(const MatrixStateChunk<Real>& c, const Real* before, Real* after) {
  const Index keys = c.keys, values = c.values, rows = c.rows;
  if (c.safe) {
    scale_columns(before, values, keys, c.enter, after);
    tile_product<true, Real>(values, keys, delta ? 2 * rows : rows, {c.inputs, 1, values}, c.right, keys, after, keys);
    scale_columns(after, values, keys, c.leave, after);
  } else {
    std::copy_n(before, values * keys, after);
    advance_in_tokens<delta>(c, after);
  }
}

/// Zeros where the column's token is not before the row's; on the diagonal of the receptance's rows its own token stays
/// if `own`.
template <bool delta, bool own, class Real>
RWKVLAB_CLONES void keep_earlier(Real* scores) {
  constexpr Index rows = chunk_tokens, sides = delta ? 2 : 1, width = sides * rows;
  for (Index side = 0; side < sides; ++side) {
    for (Index i = 0; i < rows; ++i) {
      const Index kept = side == 0 && own ? i + 1 : i;
      for (Index column = 0; column < sides; ++column) {
        Real* const row = scores + (side * rows + i) * width + column * rows;
        for (Index j = 0; j < rows; ++j) row[j] = j < kept ? row[j] : Real(0);
      }
    }
  }
}

/// W in place of dU: from the last token back, W_t = dU_t + sum_(s>t) Mab[s][t] W_s. Both are `grads`' second half.
template <class Real>
RWKVLAB_CLONES void solve_reads(const MatrixStateChunk<Real>& c) {
  constexpr Index rows = chunk_tokens, width = 2 * rows;
  Real* const w = c.grads + rows * c.values;
  for (Index t = rows - 2; t >= 0; --t) {
    Real* const row = w + t * c.values;
    for (Index s = t + 1; s < rows; ++s) {
      const Real weight = c.scores[(rows + s) * width + rows + t];
      const Real* const later = w + s * c.values;
#pragma omp simd
      for (Index i = 0; i < c.values; ++i) row[i] += weight * later[i];
    }
  }
}

/// The part of dl that goes through the states at the chunk's ends, from what they give to dR, dA, dK and dB. Nothing
/// is subtracted.
template <bool delta, bool bonus, class Real>
RWKVLAB_CLONES void decays_through_states(const MatrixStateChunk<Real>& c) {
  const Index keys = c.keys, second = c.rows * keys;
  for (Index n = 0; n < keys; ++n) c.running[n] = 0;
  for (Index t = 0; t < c.rows; ++t) {  // Writes of earlier tokens that reach the leaving state.
#pragma omp simd
    for (Index n = 0; n < keys; ++n) {
      const Index i = t * keys + n;
      c.grad_log_decay[i] = c.running[n];
      c.running[n] += c.right[i] * c.grad_right[i];
      if (delta) c.running[n] += c.right[second + i] * c.grad_right[second + i];
    }
  }
  for (Index n = 0; n < keys; ++n) c.running[n] = 0;
  for (Index i = 0; i < c.values; ++i) {  // What of the entering state reaches the leaving one.
#pragma omp simd
    for (Index n = 0; n < keys; ++n) c.running[n] += c.entering[i * keys + n] * c.grad_state[i * keys + n];
  }
  for (Index t = c.rows - 1; t >= 0; --t) {  // Reads of later tokens from the entering state.
#pragma omp simd
    for (Index n = 0; n < keys; ++n) {
      const Index i = t * keys + n;
      const Real read = c.left[i] * c.grad_left[i];
      Real sum = c.running[n];
      if (!bonus) sum += read;
      c.grad_log_decay[i] += sum;
      if (bonus) sum += read;
      if (delta) sum += c.left[second + i] * c.grad_left[second + i];
      c.running[n] = sum;
    }
  }
}

/// sum += left ⊙ near of the rows [begin, rows) in sixteen columns.
template <class Real>
RWKVLAB_INLINE void add_pairs(const Real* left, const Real* near, Index begin, Index keys, Real* sum) {
  for (Index i = begin; i < chunk_tokens; ++i) {
#pragma omp simd
    for (Index lane = 0; lane < tile_lanes; ++lane) sum[lane] += left[i * keys + lane] * near[i * keys + lane];
  }
}

/// near += dM right for one earlier token, in the rows behind it and sixteen columns.
template <bool delta, class Real>
RWKVLAB_INLINE void add_earlier(const Real* scores, Index token, const Real* right, const Real* second_right,
                                Index keys, Real* near) {
  constexpr Index width = (delta ? 2 : 1) * chunk_tokens;
  for (Index i = token + 1; i < chunk_tokens; ++i) {
    const Real weight = scores[i * width + token];
    const Real second = delta ? scores[i * width + chunk_tokens + token] : Real(0);
#pragma omp simd
    for (Index lane = 0; lane < tile_lanes; ++lane) {
      Real sum = near[i * keys + lane] + weight * right[lane];
      if (delta) sum += second * second_right[lane];
      near[i * keys + lane] = sum;
    }
  }
}

/// What the chunk's tokens give each other: near_left = dM [K'; B'], and its part of dl. A decay lies between an
/// earlier token and a later one, so the sum over earlier tokens that is known when the decay's turn comes is what it
/// scales: nothing is subtracted.
template <bool delta, bool bonus, class Real>
RWKVLAB_CLONES void decays_between_tokens(const MatrixStateChunk<Real>& c) {
  constexpr Index rows = chunk_tokens, width = (delta ? 2 : 1) * rows;
  const Index keys = c.keys, second = rows * keys;
  std::fill_n(c.near_left, width * keys, Real(0));
  for (Index column = 0; column < keys; column += tile_lanes) {
    const Real *left = c.left + column, *right = c.right + column;
    Real* const near = c.near_left + column;
    for (Index t = 0; t < rows; ++t) {
      alignas(64) Real sum[tile_lanes] = {};
      add_pairs(left, near, bonus ? t + 1 : t, keys, sum);
      if (delta) add_pairs(left + second, near + second, t + 1, keys, sum);
      Real* const to = c.grad_log_decay + t * keys + column;
      for (Index lane = 0; lane < tile_lanes; ++lane) to[lane] += sum[lane];
      const Real* const second_right = delta ? right + second + t * keys : nullptr;
      add_earlier<delta>(c.grad_scores, t, right + t * keys, second_right, keys, near);
      if (delta)
        add_earlier<delta>(c.grad_scores + rows * width, t, right + t * keys, second_right, keys, near + second);
    }
  }
}

/// Finishes dR, dA, dK and dB: both parts with the factors' scales, and without a bonus the token's own.
template <bool delta, bool bonus, class Real>
RWKVLAB_CLONES void finish_keys(const MatrixStateChunk<Real>& c) {
  const Index keys = c.keys, second = c.rows * keys;
  for (Index t = 0; t < c.rows; ++t) {
    const Real own = bonus ? Real(0) : c.along[t], own_read = delta ? c.along[c.rows + t] : Real(0);
#pragma omp simd
    for (Index n = 0; n < keys; ++n) {
      const Index i = t * keys + n;
      Real dr = (c.grad_left[i] + c.near_left[i]) * c.from_r[i] + own * c.k[i];
      if (delta) {
        dr += own_read * c.b[i];
        c.grad_left[second + i] = (c.grad_left[second + i] + c.near_left[second + i]) * c.from_a[i];
        c.grad_right[second + i] = (c.grad_right[second + i] + c.near_right[second + i]) * c.to[i] + own_read * c.r[i];
      }
      c.grad_left[i] = dr;
      c.grad_right[i] = (c.grad_right[i] + c.near_right[i]) * c.to[i] + own * c.r[i];
    }
  }
}

/// to[t * step] = r_t · (bonus ⊙ k_t)
template <class Real>
RWKVLAB_CLONES void bonus_scores(const MatrixStateChunk<Real>& c, Real* to, Index step) {
  for (Index t = 0; t < c.rows; ++t) {
    const Real *r = c.r + t * c.keys, *k = c.k + t * c.keys, *u = c.bonus;
    to[t * step] = lane_sum<Real, 16>(0, c.keys, [=](Index n) RWKVLAB_INLINE_LAMBDA { return r[n] * u[n] * k[n]; });
  }
}

/// The matrix form. `state`: before the chunk. Leaves dR, dA, dK, dB, dl and dV, without the bonus's own terms in the
/// first four, and D of the state before the chunk.
template <bool delta, bool bonus, class Real>
void descend_in_matrices(const MatrixStateChunk<Real>& c, const Real* state) {
  constexpr Index rows = chunk_tokens, width = (delta ? 2 : 1) * rows;
  const Index keys = c.keys, values = c.values;
  scale_columns(state, values, keys, c.enter, c.entering);
  scale_columns(c.grad_state, values, keys, c.leave, c.grad_state);
  tile_transpose(width, keys, c.right, keys, c.right_columns, width);
  tile_transpose(width, values, c.inputs, values, c.input_columns, width);

  tile_product<false, Real>(width, width, keys, {c.left, keys, 1}, c.right_columns, width, c.scores, width);
  keep_earlier<delta, !bonus>(c.scores);
  if (bonus) bonus_scores(c, c.scores, width + 1);

  tile_product<false, Real>(values, width, keys, {c.grad_state, keys, 1}, c.right_columns, width, c.grad_columns,
                            width);
  tile_transpose(values, width, c.grad_columns, width, c.grad_inputs, values);
  tile_product<true, Real>(width, values, rows, {c.scores, 1, width}, c.grads, values, c.grad_inputs, values);
  if (delta) {
    std::copy_n(c.grad_inputs + rows * values, rows * values, c.grads + rows * values);
    solve_reads(c);
    tile_product<true, Real>(rows, values, rows, {c.scores + rows * width, 1, width}, c.grads + rows * values, values,
                             c.grad_inputs, values);
  }

  tile_product<false, Real>(width, width, values, {c.grads, values, 1}, c.input_columns, width, c.grad_scores, width);
  for (Index t = 0; t < rows; ++t) {
    c.along[t] = c.grad_scores[t * width + t];
    if (delta) c.along[rows + t] = c.grad_scores[t * width + rows + t];
  }
  keep_earlier<delta, false>(c.grad_scores);

  tile_product<false, Real>(width, keys, values, {c.grads, values, 1}, c.entering, keys, c.grad_left, keys);
  tile_product<false, Real>(width, keys, values, {c.inputs, values, 1}, c.grad_state, keys, c.grad_right, keys);
  decays_through_states<delta, bonus>(c);
  decays_between_tokens<delta, bonus>(c);
  tile_product<false, Real>(width, keys, width, {c.grad_scores, 1, width}, c.left, keys, c.near_right, keys);

  tile_product<true, Real>(values, keys, width, {c.grads, 1, values}, c.left, keys, c.grad_state, keys);
  scale_columns(c.grad_state, values, keys, c.enter, c.grad_state);
  finish_keys<delta, bonus>(c);
}

/// The states of a block of value rows after each token of the chunk.
template <bool delta, class Real>
RWKVLAB_INLINE void recompute_rows(const MatrixStateChunk<Real>& c, const Real* before, Index row, Real* states) {
  const Index keys = c.keys, values = c.values, rows = c.rows;
  std::copy_n(before + row * keys, row_block * keys, states);
  for (Index t = 0; t < c.tokens; ++t) {
    const Real* const from = states + t * row_block * keys;
    Real* const to = states + (t + 1) * row_block * keys;
    const Real *w = c.to + t * keys, *k = c.k + t * keys, *b = c.b + t * keys;
    for (int i = 0; i < row_block; ++i) {
      const Real v = c.inputs[t * values + row + i], u = delta ? c.inputs[(rows + t) * values + row + i] : Real(0);
#pragma omp simd
      for (Index n = 0; n < keys; ++n) {
        Real next = from[i * keys + n] * w[n] + v * k[n];
        if (delta) next += u * b[n];
        to[i * keys + n] = next;
      }
    }
  }
}

/// The way back of one token for one value row; what it adds to dR, dA, dK, dB and the decay's gradient.
template <bool delta, bool bonus, class Real>
RWKVLAB_INLINE void descend_row(const MatrixStateChunk<Real>& c, Index t, Index row, const Real* before,
                                const Real* after) {
  const Index keys = c.keys, values = c.values, rows = c.rows, at = t * keys, second = rows * keys + at;
  const Real g = c.grads[t * values + row], v = c.inputs[t * values + row];
  const Real u = delta ? c.inputs[(rows + t) * values + row] : Real(0);
  const Real *r = c.r + at, *k = c.k + at, *a = c.a + at, *b = c.b + at, *w = c.to + at;
  Real *dr = c.grad_left + at, *da = c.grad_left + second, *dk = c.grad_right + at, *db = c.grad_right + second;
  Real *dl = c.grad_log_decay + at, *D = c.grad_state + row * keys;
#pragma omp simd
  for (Index n = 0; n < keys; ++n) {
    const Real d = bonus ? D[n] : D[n] + g * r[n];
    dr[n] += (bonus ? before[n] : after[n]) * g;
    dl[n] += before[n] * d * w[n];
    dk[n] += d * v;
    if (delta) db[n] += d * u;
    D[n] = d;
  }
  c.grad_inputs[t * values + row] =
      lane_sum<Real, 16>(0, keys, [=](Index n) RWKVLAB_INLINE_LAMBDA { return D[n] * k[n]; });
  const Real through =
      delta ? lane_sum<Real, 16>(0, keys, [=](Index n) RWKVLAB_INLINE_LAMBDA { return D[n] * b[n]; }) : Real(0);
#pragma omp simd
  for (Index n = 0; n < keys; ++n) {
    Real d = D[n] * w[n];
    if (delta) d += through * a[n];
    if (delta) da[n] += before[n] * through;
    if (bonus) d += g * r[n];
    D[n] = d;
  }
}

/// The token-by-token form, for any decays; leaves what descend_in_matrices leaves.
template <bool delta, bool bonus, class Real>
RWKVLAB_CLONES void descend_in_tokens(const MatrixStateChunk<Real>& c, const Real* state) {
  constexpr Index sides = delta ? 2 : 1;
  const Index keys = c.keys, values = c.values, rows = c.rows;
  for (Index i = 0; i < rows * keys; ++i) c.to[i] = vector_exp(c.log_decay[i]);
  Real* const states = c.token_states;
  std::fill_n(c.grad_left, sides * rows * keys, Real(0));
  std::fill_n(c.grad_right, sides * rows * keys, Real(0));
  std::fill_n(c.grad_log_decay, rows * keys, Real(0));
  for (Index row = 0; row < values; row += row_block) {
    recompute_rows<delta>(c, state, row, states);
    for (Index t = c.tokens - 1; t >= 0; --t) {
      const Real* const before = states + t * row_block * keys;
      for (int i = 0; i < row_block; ++i) {
        descend_row<delta, bonus>(c, t, row + i, before + i * keys, before + (row_block + i) * keys);
      }
    }
  }
  if (!bonus) return;
  bonus_scores(c, c.scores, 1);
  for (Index t = 0; t < rows; ++t) {
    const Real *g = c.grads + t * values, *v = c.inputs + t * values;
    c.along[t] = lane_sum<Real, 16>(0, values, [=](Index i) RWKVLAB_INLINE_LAMBDA { return g[i] * v[i]; });
    for (Index i = 0; i < values; ++i) c.grad_inputs[t * values + i] += c.scores[t] * g[i];
  }
}

}  // namespace rwkvlab::kernels
