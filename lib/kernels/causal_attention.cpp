#include "kernels/causal_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/block_product.h"
#include "kernels/matmul.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/vector_math.h"

namespace rwkvlab::kernels {
namespace {

/// Queries of one block: their scores stay in the second-level cache for a few hundred keys.
constexpr Index block_rows = 64;

/// Queries [first, first + rows) of one head, which see the first `seen` keys between them.
struct Block {
  Index first, rows, seen;
};

Index block_count(const CausalAttentionSize& size) { return piece_count(size.queries, block_rows); }

Block block_at(const CausalAttentionSize& size, Index index) {
  const Index first = index * block_rows, rows = std::min(block_rows, size.queries - first);
  return {first, rows, size.sees_all ? size.keys : size.keys - size.queries + first + rows};
}

/// The products of a block, in terms of one head: matrices of tokens are [tokens, head_size], `channels` apart; those
/// of scores are [rows, seen].
struct BlockProducts {
  SerialProduct scores;     ///< queries · keysᵀ, and grad_y · valuesᵀ
  SerialProduct to_rows;    ///< scores · tokens: y, grad_query
  SerialProduct to_tokens;  ///< scoresᵀ · rows: grad_key, grad_value
};

BlockProducts products_of(const Block& block, const CausalAttentionSize& size, bool accumulate) {
  const Index d = size.head_size, apart = size.channels();
  return {{block.rows, block.seen, d, false, true, false, apart, apart, block.seen},
          {block.rows, d, block.seen, false, false, false, block.seen, apart, apart},
          {block.seen, d, block.rows, true, false, accumulate, block.seen, apart, apart}};
}

/// What the rows of a block's scores need to become probabilities.
template <class Real>
struct Rows {
  Block block;
  Real scale, slope;
  bool sees_all;
  Index seen_by(Index row) const { return sees_all ? block.seen : block.seen - block.rows + row + 1; }
  /// The score of key i, `products` being those of the row. Relative to the last visible key, so that the bias is 0
  /// there.
  RWKVLAB_INLINE Real score(const Real* products, Index i, Index visible) const {
    return scale * products[i] - slope * static_cast<Real>(visible - 1 - i);
  }
};

template <class Real>
Rows<Real> rows_of(const Block& block, const CausalAttentionSize& size, const double* slopes, Index head) {
  return {block, static_cast<Real>(1.0 / std::sqrt(static_cast<double>(size.head_size))),
          static_cast<Real>(slopes != nullptr ? slopes[head] : 0.0), size.sees_all};
}

template <class Real>
RWKVLAB_INLINE void softmax_rows(const Rows<Real>& rows, Real* scores, Real* softmax, Index begin, Index end) {
  const Index seen = rows.block.seen;
  for (Index row = begin; row < end; ++row) {
    Real* s = scores + row * seen;
    const Index visible = rows.seen_by(row);
    const Real max = lane_max(Index(0), visible, -std::numeric_limits<Real>::infinity(),
                              [=](Index i) RWKVLAB_INLINE_LAMBDA { return rows.score(s, i, visible); });
#pragma omp simd
    for (Index i = 0; i < visible; ++i) s[i] = vector_exp_nonpositive(rows.score(s, i, visible) - max);
    const Real inverse = 1 / lane_sum<Real>(0, visible, [=](Index i) RWKVLAB_INLINE_LAMBDA { return s[i]; });
#pragma omp simd
    for (Index i = 0; i < visible; ++i) s[i] *= inverse;
    for (Index i = visible; i < seen; ++i) s[i] = 0;
    softmax[2 * row] = max;
    softmax[2 * row + 1] = inverse;
  }
}

/// The same probabilities from what was kept of each row.
template <class Real>
RWKVLAB_INLINE void repeat_softmax_rows(const Rows<Real>& rows, Real* scores, const Real* softmax, Index begin,
                                        Index end) {
  const Index seen = rows.block.seen;
  for (Index row = begin; row < end; ++row) {
    Real* s = scores + row * seen;
    const Index visible = rows.seen_by(row);
    const Real max = softmax[2 * row], inverse = softmax[2 * row + 1];
#pragma omp simd
    for (Index i = 0; i < visible; ++i) s[i] = vector_exp_nonpositive(rows.score(s, i, visible) - max) * inverse;
    for (Index i = visible; i < seen; ++i) s[i] = 0;
  }
}

/// dp becomes ds / sqrt(head_size).
template <class Real>
RWKVLAB_INLINE void softmax_gradient_rows(const Rows<Real>& rows, const Real* probabilities, Real* gradients,
                                          Index begin, Index end) {
  const Index seen = rows.block.seen;
  for (Index row = begin; row < end; ++row) {
    const Real* p = probabilities + row * seen;
    Real* g = gradients + row * seen;
    const Index visible = rows.seen_by(row);
    const Real mean = lane_sum<Real>(0, visible, [=](Index i) RWKVLAB_INLINE_LAMBDA { return p[i] * g[i]; });
#pragma omp simd
    for (Index i = 0; i < visible; ++i) g[i] = rows.scale * p[i] * (g[i] - mean);
    for (Index i = visible; i < seen; ++i) g[i] = 0;
  }
}

/// Where one head of one batch entry begins.
struct Head {
  Index index, queries, keys, softmax;
};

Head head_at(const CausalAttentionSize& size, Index index) {
  const Index entry = index / size.heads, head = index % size.heads, channels = size.channels();
  return {head, entry * size.queries * channels + head * size.head_size,
          entry * size.keys * channels + head * size.head_size, index * size.queries * 2};
}

template <class Real>
void forward_head(const CausalAttentionForward<Real>& call, const Head& head) {
  for (Index index = 0; index < block_count(call.size); ++index) {
    const Block block = block_at(call.size, index);
    const BlockProducts products = products_of(block, call.size, false);
    const Rows<Real> rows = rows_of<Real>(block, call.size, call.slopes, head.index);
    const Index at = head.queries + block.first * call.size.channels();
    Real* scores = scratch<Real>(Scratch::local, block.rows * block.seen);
    Real* softmax = call.softmax + head.softmax + 2 * block.first;
    block_product(products.scores, call.query + at, call.key + head.keys, scores);
    const auto body = [=](Index begin, Index end)
                          RWKVLAB_INLINE_LAMBDA { softmax_rows(rows, scores, softmax, begin, end); };
    run_cloned(body, 0, block.rows);
    block_product(products.to_rows, scores, call.value + head.keys, call.y + at);
  }
}

/// Keys of one piece of a step: each piece has a sum of its own.
constexpr Index step_keys = 256;

/// One query per sequence, as in generation, sees all keys. Head by head they would be read in short bits far apart, so
/// every row is read once, for all heads.
template <class Real>
void forward_step(const CausalAttentionForward<Real>& call, Index entry) {
  const Index keys = call.size.keys, heads = call.size.heads, d = call.size.head_size, channels = call.size.channels();
  const Index pieces = piece_count(keys, step_keys), ahead = 8192 / static_cast<Index>(sizeof(Real));
  Real* const scores = scratch<Real>(Scratch::partials, heads * keys + pieces * channels);  // [heads, keys]
  Real* const partials = scores + heads * keys;                                             // [pieces, channels]
  const Real *const query = call.query + entry * channels, *const key = call.key + entry * keys * channels,
                    *const value = call.value + entry * keys * channels;
  parallel_simd(keys, step_keys, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index i = begin; i < end; ++i) {
      prefetch(key + i * channels + ahead, channels);
      for (Index h = 0; h < heads; ++h) {
        const Real *const q = query + h * d, *const k = key + i * channels + h * d;
        scores[h * keys + i] = lane_sum<Real, 16>(0, d, [=](Index c) RWKVLAB_INLINE_LAMBDA { return q[c] * k[c]; });
      }
    }
  });
  parallel_for(heads, 1, [&](Index begin, Index end) {
    for (Index h = begin; h < end; ++h) {
      const Rows<Real> rows = rows_of<Real>({0, 1, keys}, call.size, call.slopes, h);
      Real *const s = scores + h * keys, *const softmax = call.softmax + 2 * (entry * heads + h);
      run_cloned([=](Index, Index) RWKVLAB_INLINE_LAMBDA { softmax_rows(rows, s, softmax, 0, 1); }, 0, 1);
    }
  });
  parallel_simd(keys, step_keys, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    Real* const sum = partials + begin / step_keys * channels;
    for (Index c = 0; c < channels; ++c) sum[c] = 0;
    for (Index i = begin; i < end; ++i) {
      prefetch(value + i * channels + ahead, channels);
      for (Index h = 0; h < heads; ++h) {
        const Real weight = scores[h * keys + i];
        const Real* const v = value + i * channels;
#pragma omp simd
        for (Index c = h * d; c < (h + 1) * d; ++c) sum[c] += weight * v[c];
      }
    }
  });
  Real* const y = call.y + entry * channels;
  std::copy_n(partials, channels, y);
  for (Index piece = 1; piece < pieces; ++piece) {
    for (Index c = 0; c < channels; ++c) y[c] += partials[piece * channels + c];
  }
}

// From the last block, which sees all keys and so writes every gradient, to the first.
template <class Real>
void backward_head(const CausalAttentionBackward<Real>& call, const Head& head) {
  const Index blocks = block_count(call.size);
  for (Index index = blocks - 1; index >= 0; --index) {
    const Block block = block_at(call.size, index);
    const BlockProducts products = products_of(block, call.size, index < blocks - 1);
    const Rows<Real> rows = rows_of<Real>(block, call.size, call.slopes, head.index);
    const Index at = head.queries + block.first * call.size.channels();
    Real* p = scratch<Real>(Scratch::local, 2 * block.rows * block.seen);
    Real* g = p + block.rows * block.seen;
    const Real* softmax = call.softmax + head.softmax + 2 * block.first;
    block_product(products.scores, call.query + at, call.key + head.keys, p);
    const auto repeat = [=](Index begin, Index end)
                            RWKVLAB_INLINE_LAMBDA { repeat_softmax_rows(rows, p, softmax, begin, end); };
    run_cloned(repeat, 0, block.rows);
    block_product(products.to_tokens, p, call.grad_y + at, call.grad_value + head.keys);
    block_product(products.scores, call.grad_y + at, call.value + head.keys, g);
    const auto gradient = [=](Index begin, Index end)
                              RWKVLAB_INLINE_LAMBDA { softmax_gradient_rows(rows, p, g, begin, end); };
    run_cloned(gradient, 0, block.rows);
    block_product(products.to_rows, g, call.key + head.keys, call.grad_query + at);
    block_product(products.to_tokens, g, call.query + at, call.grad_key + head.keys);
  }
}

MatmulCall noted(const SerialProduct& product, Index batch) {
  MatmulCall call;
  call.batch = batch;
  call.m = product.m;
  call.n = product.n;
  call.k = product.k;
  call.transpose_a = product.transpose_a;
  call.transpose_b = product.transpose_b;
  call.stride_a = call.m * call.k;
  call.stride_b = call.k * call.n;
  call.stride_c = call.m * call.n;
  return call;
}

}  // namespace

template <class Real>
void causal_attention_forward(const CausalAttentionForward<Real>& call) {
  if (call.size.queries == 1) {
    for (Index entry = 0; entry < call.size.batch; ++entry) forward_step(call, entry);
    return;
  }
  parallel_for(call.size.batch * call.size.heads, 1, [&](Index begin, Index end) {
    for (Index index = begin; index < end; ++index) forward_head(call, head_at(call.size, index));
  });
}

template <class Real>
void causal_attention_backward(const CausalAttentionBackward<Real>& call) {
  parallel_for(call.size.batch * call.size.heads, 1, [&](Index begin, Index end) {
    for (Index index = begin; index < end; ++index) backward_head(call, head_at(call.size, index));
  });
}

void note_causal_attention(const CausalAttentionSize& size, bool backward) {
  for (Index index = 0; index < block_count(size); ++index) {
    const BlockProducts products = products_of(block_at(size, index), size, false);
    const Index heads = size.batch * size.heads;
    note_matmul(noted(products.scores, heads));
    note_matmul(noted(products.to_rows, heads));
    if (!backward) continue;
    note_matmul(noted(products.scores, heads));
    for (int i = 0; i < 2; ++i) note_matmul(noted(products.to_tokens, heads));
  }
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Real)                                                    \
  template void causal_attention_forward<Real>(const CausalAttentionForward<Real>&); \
  template void causal_attention_backward<Real>(const CausalAttentionBackward<Real>&);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)

}  // namespace rwkvlab::kernels
