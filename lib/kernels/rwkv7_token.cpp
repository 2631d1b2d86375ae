#include "kernels/rwkv7_token.h"

#include <algorithm>
#include <cmath>

#include "kernels/heads.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/vector_math.h"

namespace rwkvlab::kernels {
namespace {

constexpr int lanes = 16;

/// Sum over the channels of a head.
template <class Term>
RWKVLAB_INLINE float head_sum(Index width, Term term) {
  return lane_sum<float, lanes>(0, width, term);
}

/// What all rows of a head's state meet, [head_size] each.
struct HeadVectors {
  float *decay, *removal, *replacement, *key, *value;
  float* decayed_receptance;  ///< decay ⊙ receptance
};

/// The vectors of one head; `at` is its first channel in its sequence, `channel` that of the parameters.
RWKVLAB_INLINE void fill_vectors(const Rwkv7Token& call, Index at, Index channel, const HeadVectors& head) {
  const Index n = call.head_size;
  const float fastest = static_cast<float>(call.fastest_log_decay), limit = static_cast<float>(call.rate_limit);
  const float *key = call.key + at, *scale = call.key_scale + channel;
  const float norm = std::sqrt(head_sum(n, [=](Index c) RWKVLAB_INLINE_LAMBDA {
    const float x = key[c] * scale[c];
    return x * x;
  }));
  const float inverse = 1 / std::max(norm, static_cast<float>(smallest_key_norm));
#pragma omp simd
  for (Index c = 0; c < n; ++c) {
    const float rate = limit * vector_sigmoid(call.rate_offset[channel + c] + call.rate[at + c]);
    const float unit = key[c] * scale[c] * inverse;
    const float decay = vector_exp(fastest * vector_sigmoid(call.decay_offset[channel + c] + call.decay[at + c]));
    head.decay[c] = decay;
    head.decayed_receptance[c] = decay * call.receptance[at + c];
    head.removal[c] = -unit;
    head.replacement[c] = unit * rate;
    head.key[c] = key[c] * (1 + (rate - 1) * call.key_boost[channel + c]);
  }
  const float* const value = call.value + at;
  if (call.value_weight == nullptr) {
    std::copy_n(value, n, head.value);
    return;
  }
#pragma omp simd
  for (Index c = 0; c < n; ++c) {
    const float weight = vector_sigmoid(call.value_offset[channel + c] + call.value_weight[at + c]);
    head.value[c] = value[c] + (call.first_value[at + c] - value[c]) * weight;
  }
}

/// What the rows of a head's state are read with besides: Σ S' r = Σ S w r + (Σ S removal) (replacement · r) + v (k ·
/// r), so that both sums over a row are of the old one and neither waits for the other.
struct ReadWeights {
  float written, added;  ///< replacement · r, k · r
};

/// Row i of any width: reads and moves on.
RWKVLAB_INLINE void step_row(Index n, Index i, const HeadVectors& head, const ReadWeights& weights, const float* state,
                             float* next, float* y) {
  const float* const row = state + i * n;
  float* const to = next + i * n;
  const float removed = head_sum(n, [=](Index j) RWKVLAB_INLINE_LAMBDA { return row[j] * head.removal[j]; });
  const float read = head_sum(n, [=](Index j) RWKVLAB_INLINE_LAMBDA { return row[j] * head.decayed_receptance[j]; });
  const float value = head.value[i];
  y[i] = read + removed * weights.written + value * weights.added;
#pragma omp simd
  for (Index j = 0; j < n; ++j) to[j] = row[j] * head.decay[j] + value * head.key[j] + removed * head.replacement[j];
}

#ifdef __GNUC__

constexpr int rows_at_once = 4;

/// `lanes` numbers, and fewer.
typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));    // NOLINT(modernize-use-using)
typedef float Half __attribute__((vector_size(32), aligned(4), may_alias));     // NOLINT(modernize-use-using)
typedef float Quarter __attribute__((vector_size(16), aligned(4), may_alias));  // NOLINT(modernize-use-using)

RWKVLAB_INLINE const Lanes& lanes_at(const float* x) { return *reinterpret_cast<const Lanes*>(x); }

/// The sums of four vectors, by trading places and adding: a third of what four sums on their own take.
RWKVLAB_INLINE void four_sums(const Lanes* v, float* sums) {
  Lanes pairs[2];
  for (int i = 0; i < 2; ++i) {  // Of each four lanes: a0 + a2, b0 + b2, a1 + a3, b1 + b3.
    const Lanes &a = v[2 * i], &b = v[2 * i + 1];
    pairs[i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29) +
               __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  }
  const Lanes fours =
      __builtin_shufflevector(pairs[0], pairs[1], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
      __builtin_shufflevector(pairs[0], pairs[1], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  const Half halves = __builtin_shufflevector(fours, fours, 0, 1, 2, 3, 4, 5, 6, 7) +
                      __builtin_shufflevector(fours, fours, 8, 9, 10, 11, 12, 13, 14, 15);
  *reinterpret_cast<Quarter*>(sums) =
      __builtin_shufflevector(halves, halves, 0, 1, 2, 3) + __builtin_shufflevector(halves, halves, 4, 5, 6, 7);
}

/// Four rows of a whole number of vectors; `fixed`: of so many numbers, or 0 for any.
template <int fixed>
RWKVLAB_INLINE void step_four_rows(Index any, Index i, const HeadVectors& head, const ReadWeights& weights,
                                   const float* state, float* next, float* y) {
  const Index n = fixed > 0 ? fixed : any;
  constexpr Index ahead = 2048;  // The state comes from memory: asked for in time, and across its pages.
  Lanes removed_lanes[rows_at_once], read_lanes[rows_at_once];
  float removed[rows_at_once], read[rows_at_once];
  for (int r = 0; r < rows_at_once; ++r) {
    const float* const row = state + (i + r) * n;
    Lanes a = {}, b = {};
#pragma GCC unroll 4
    for (Index j = 0; j < n; j += lanes) {
      __builtin_prefetch(row + ahead + j);
      a += lanes_at(row + j) * lanes_at(head.removal + j);
      b += lanes_at(row + j) * lanes_at(head.decayed_receptance + j);
    }
    removed_lanes[r] = a, read_lanes[r] = b;
  }
  four_sums(removed_lanes, removed);
  four_sums(read_lanes, read);
  for (int r = 0; r < rows_at_once; ++r) {
    const float value = head.value[i + r];
    y[i + r] = read[r] + removed[r] * weights.written + value * weights.added;
    const float* const row = state + (i + r) * n;
    float* const to = next + (i + r) * n;
#pragma GCC unroll 4
    for (Index j = 0; j < n; j += lanes) {
      *reinterpret_cast<Lanes*>(to + j) = lanes_at(row + j) * lanes_at(head.decay + j) +
                                          value * lanes_at(head.key + j) + removed[r] * lanes_at(head.replacement + j);
    }
  }
}

#else

constexpr int rows_at_once = 0;
template <int fixed>
RWKVLAB_INLINE void step_four_rows(Index, Index, const HeadVectors&, const ReadWeights&, const float*, float*, float*) {
}

#endif

/// Moves the state of a head on and reads it into y.
RWKVLAB_INLINE void step_state(Index n, const HeadVectors& head, const float* receptance, const float* state,
                               float* next, float* y) {
  const ReadWeights weights = {
      head_sum(n, [=](Index c) RWKVLAB_INLINE_LAMBDA { return head.replacement[c] * receptance[c]; }),
      head_sum(n, [=](Index c) RWKVLAB_INLINE_LAMBDA { return head.key[c] * receptance[c]; })};
  if (rows_at_once > 0 && n == 64) {  // The head size of the released models.
    for (Index i = 0; i < n; i += rows_at_once) step_four_rows<64>(n, i, head, weights, state, next, y);
  } else if (rows_at_once > 0 && n % lanes == 0) {
    for (Index i = 0; i < n; i += rows_at_once) step_four_rows<0>(n, i, head, weights, state, next, y);
  } else {
    for (Index i = 0; i < n; ++i) step_row(n, i, head, weights, state, next, y);
  }
}

/// y of a head becomes what the output's weights meet.
RWKVLAB_INLINE void finish(const Rwkv7Token& call, Index at, Index channel, const HeadVectors& head, float* y) {
  const Index n = call.head_size;
  const auto count = static_cast<float>(n);
  const float mean = head_sum(n, [=](Index c) RWKVLAB_INLINE_LAMBDA { return y[c]; }) / count;
  const float variance =
      head_sum(n, [=](Index c) RWKVLAB_INLINE_LAMBDA { return (y[c] - mean) * (y[c] - mean); }) / count;
  const float deviation = 1 / std::sqrt(variance + static_cast<float>(call.epsilon));
  const float *receptance = call.receptance + at, *bonus = call.bonus + channel;
  const float own = head_sum(n, [=](Index c) RWKVLAB_INLINE_LAMBDA { return receptance[c] * head.key[c] * bonus[c]; });
#pragma omp simd
  for (Index c = 0; c < n; ++c) {
    const float normed = (y[c] - mean) * deviation * call.norm_weight[channel + c] + call.norm_bias[channel + c];
    y[c] = (normed + own * head.value[c]) * call.gate[at + c];
  }
}

}  // namespace

void rwkv7_token(const Rwkv7Token& call) {
  const Index n = call.head_size, apart = (n + lanes - 1) / lanes * lanes;
  parallel_simd(call.sequences * call.heads, 1, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    float* const memory = scratch<float>(Scratch::local, 6 * apart);
    const HeadVectors head = {
        memory, memory + apart, memory + 2 * apart, memory + 3 * apart, memory + 4 * apart, memory + 5 * apart};
    for (Index index = begin; index < end; ++index) {
      const Index at = index * n, channel = index % call.heads * n;
      fill_vectors(call, at, channel, head);
      step_state(n, head, call.receptance + at, call.state + at * n, call.next_state + at * n, call.y + at);
      finish(call, at, channel, head, call.y + at);
    }
  });
}

}  // namespace rwkvlab::kernels
