#include "kernels/matrix_state_backward.h"

#include "kernels/matrix_state_chunk.h"
#include "kernels/scratch.h"

namespace rwkvlab::kernels {
namespace {

constexpr Index chunks_of_stretch = kept_state_tokens / chunk_tokens;
/// Heads below which the value channels are split too. The split depends on the sizes alone, as sums must.
constexpr Index few_heads = 8;
/// The narrowest tile worth a unit of its own: half as many value channels take a unit almost as long, because what
/// concerns the keys is computed for every tile (measured with heads of 64).
constexpr Index least_tile = 64;

/// One head of one batch entry, value channels [value, value + width).
struct Unit {
  Index batch, head;
  Index value, width;
};

/// Where the key gradients of a unit go: to the call's arrays, or to a tile's own copy of them.
template <class Real>
struct KeyGradients {
  Real *receptance, *key, *a, *b, *decay;
};

/// How the work is split, and the sums that cross its parts.
template <class Real>
struct Split {
  Index tiles = 1, tile_values = 0;
  Index key_elements = 0;    ///< of an array of keys
  Real* partials = nullptr;  ///< [tiles, 5, key_elements], with more than one tile
  Real* vectors = nullptr;   ///< [units, 2, key_size]: gradients of the bonus and of a fixed decay
};

template <class Real>
RWKVLAB_INLINE KeyGradients<Real> key_gradients(const MatrixStateBackward<Real>& call, const Split<Real>& split,
                                                Index tile) {
  if (split.tiles == 1) {
    return {call.grad_receptance, call.grad_key, call.grad_a, call.grad_b,
            call.fixed_decay ? nullptr : call.grad_decay};
  }
  Real* const first = split.partials + tile * 5 * split.key_elements;
  const auto part = [&](Real* wanted, Index index) RWKVLAB_INLINE_LAMBDA {
    return wanted == nullptr ? nullptr : first + index * split.key_elements;
  };
  return {part(call.grad_receptance, 0), part(call.grad_key, 1), part(call.grad_a, 2), part(call.grad_b, 3),
          part(call.fixed_decay ? nullptr : call.grad_decay, 4)};
}

/// Of a head in an array with `size` channels per head: where the token lies that the recurrence reads first.
template <class Real>
RWKVLAB_INLINE Index first_element(const MatrixStateBackward<Real>& call, const Unit& unit, Index size) {
  const Index first = unit.batch * call.time + (call.is_reversed ? call.time - 1 : 0);
  return (first * call.heads + unit.head) * size;
}

/// From one token that the recurrence reads to the next.
template <class Real>
RWKVLAB_INLINE Index token_stride(const MatrixStateBackward<Real>& call, Index size) {
  return (call.is_reversed ? -call.heads : call.heads) * size;
}

/// `count` rows of `width` elements, `stride` apart, into chunk_tokens rows of `padded`; zeros elsewhere.
template <class Real>
void load_rows(const Real* from, Index stride, Index count, Index width, Index padded, Real* to) {
  for (Index row = 0; row < chunk_tokens; ++row) {
    Real* const target = to + row * padded;
    const Index present = row < count && from != nullptr ? width : 0;
    if (present > 0) std::copy_n(from + row * stride, present, target);
    std::fill(target + present, target + padded, Real(0));
  }
}

template <class Real>
void store_rows(const Real* from, Index padded, Index count, Index width, Real* to, Index stride) {
  for (Index row = 0; to != nullptr && row < count; ++row) std::copy_n(from + row * padded, width, to + row * stride);
}

template <class Real>
RWKVLAB_INLINE const Real* offset(const Real* pointer, Index by) {
  return pointer == nullptr ? nullptr : pointer + by;
}
template <class Real>
RWKVLAB_INLINE Real* offset(Real* pointer, Index by) {
  return pointer == nullptr ? nullptr : pointer + by;
}

template <class Real>
RWKVLAB_CLONES void from_raw_decays(const MatrixStateChunk<Real>& c, Index key_size) {
  for (Index t = 0; t < c.tokens; ++t) {
#pragma omp simd
    for (Index n = 0; n < key_size; ++n) c.log_decay[t * c.keys + n] = -vector_exp(c.log_decay[t * c.keys + n]);
  }
}

template <class Real>
void load_decays(const MatrixStateBackward<Real>& call, const Unit& unit, Index begin,
                 const MatrixStateChunk<Real>& c) {
  const Index stride = token_stride(call, call.key_size);
  if (call.fixed_decay) {
    load_rows(call.decay + unit.head * call.key_size, 0, c.tokens, call.key_size, c.keys, c.log_decay);
  } else {
    load_rows(offset(call.decay, first_element(call, unit, call.key_size) + begin * stride), stride, c.tokens,
              call.key_size, c.keys, c.log_decay);
  }
  if (call.raw_decay) from_raw_decays(c, call.key_size);
}

/// The chunk of up to chunk_tokens tokens from `begin`.
template <bool delta, bool bonus, class Real>
void load_chunk(const MatrixStateBackward<Real>& call, const Unit& unit, Index begin, MatrixStateChunk<Real>& c) {
  const Index K = call.key_size, stride = token_stride(call, K), at = first_element(call, unit, K) + begin * stride;
  const Index V = call.value_size, value_stride = token_stride(call, V);
  const Index value_at = first_element(call, unit, V) + begin * value_stride + unit.value;
  c.tokens = std::min(chunk_tokens, call.time - begin);
  load_rows(call.receptance + at, stride, c.tokens, K, c.keys, c.r);
  load_rows(call.key + at, stride, c.tokens, K, c.keys, c.k);
  load_rows(call.value + value_at, value_stride, c.tokens, unit.width, c.values, c.inputs);
  load_rows(call.grad_y + value_at, value_stride, c.tokens, unit.width, c.values, c.grads);
  if (delta) {
    load_rows(call.a + at, stride, c.tokens, K, c.keys, c.a);
    load_rows(call.b + at, stride, c.tokens, K, c.keys, c.b);
    load_rows(call.read + value_at, value_stride, c.tokens, unit.width, c.values, c.inputs + chunk_tokens * c.values);
  }
  load_decays(call, unit, begin, c);
  chunk_factors<delta, bonus>(c);
}

template <class Real>
void prefetch_rows(const Real* from, Index stride, Index count, Index width) {
  for (Index row = 0; from != nullptr && row < count; ++row) prefetch<2>(from + row * stride, width);
}

/// What load_chunk will read.
template <class Real>
void prefetch_inputs(const MatrixStateBackward<Real>& call, const Unit& unit, Index begin) {
  if (begin < 0) return;
  const Index K = call.key_size, stride = token_stride(call, K), at = first_element(call, unit, K) + begin * stride;
  const Index V = call.value_size, value_stride = token_stride(call, V);
  const Index value_at = first_element(call, unit, V) + begin * value_stride + unit.value;
  const Real* const decay = call.fixed_decay ? nullptr : call.decay;
  for (const Real* const array : {call.receptance, call.key, call.a, call.b, decay}) {
    prefetch_rows(offset(array, at), stride, chunk_tokens, K);
  }
  for (const Real* const array : {call.value, call.grad_y, call.read}) {
    prefetch_rows(offset(array, value_at), value_stride, chunk_tokens, unit.width);
  }
}

/// What store_chunk will write.
template <class Real>
void prefetch_outputs(const MatrixStateBackward<Real>& call, const Unit& unit, Index begin, Index tokens,
                      const KeyGradients<Real>& to) {
  const Index K = call.key_size, stride = token_stride(call, K), at = first_element(call, unit, K) + begin * stride;
  const Index V = call.value_size, value_stride = token_stride(call, V);
  for (const Real* const array : {to.receptance, to.key, to.a, to.b, to.decay}) {
    prefetch_rows(array == nullptr ? nullptr : array + at, stride, tokens, K);
  }
  prefetch_rows(call.grad_value + first_element(call, unit, V) + begin * value_stride + unit.value, value_stride,
                tokens, unit.width);
}

/// What the bonus adds: dr += (g · v) u ⊙ k, dk += (g · v) u ⊙ r, du += (g · v) r ⊙ k.
template <class Real>
RWKVLAB_CLONES void add_bonus(const MatrixStateChunk<Real>& c) {
  for (Index t = 0; t < c.tokens; ++t) {
    const Real along = c.along[t];
    const Index at = t * c.keys;
#pragma omp simd
    for (Index n = 0; n < c.keys; ++n) {
      c.grad_left[at + n] += along * c.bonus[n] * c.k[at + n];
      c.grad_right[at + n] += along * c.bonus[n] * c.r[at + n];
      c.grad_bonus[n] += along * c.r[at + n] * c.k[at + n];
    }
  }
}

/// From gradients of l to those of what it was computed from.
template <class Real>
RWKVLAB_CLONES void finish_decays(const MatrixStateBackward<Real>& call, const MatrixStateChunk<Real>& c) {
  const Index count = c.tokens * c.keys;
  // Where the decay has become 0, l may be infinite.
  constexpr Real nothing_left = -100;
#pragma omp simd
  for (Index i = 0; i < count; ++i) {
    const Real l = c.log_decay[i];
    if (call.raw_decay) c.grad_log_decay[i] = l > nothing_left ? c.grad_log_decay[i] * l : Real(0);
  }
  for (Index t = 0; call.fixed_decay && t < c.tokens; ++t) {
    for (Index n = 0; n < c.keys; ++n) c.grad_fixed_decay[n] += c.grad_log_decay[t * c.keys + n];
  }
}

template <bool delta, class Real>
void store_chunk(const MatrixStateBackward<Real>& call, const Unit& unit, Index begin, const MatrixStateChunk<Real>& c,
                 const KeyGradients<Real>& to) {
  const Index K = call.key_size, stride = token_stride(call, K), at = first_element(call, unit, K) + begin * stride;
  const Index V = call.value_size, value_stride = token_stride(call, V), second = chunk_tokens * c.keys;
  store_rows(c.grad_left, c.keys, c.tokens, K, to.receptance + at, stride);
  store_rows(c.grad_right, c.keys, c.tokens, K, to.key + at, stride);
  store_rows(c.grad_log_decay, c.keys, c.tokens, K, offset(to.decay, at), stride);
  if (delta) store_rows(c.grad_left + second, c.keys, c.tokens, K, to.a + at, stride);
  if (delta) store_rows(c.grad_right + second, c.keys, c.tokens, K, to.b + at, stride);
  store_rows(c.grad_inputs, c.values, c.tokens, unit.width,
             call.grad_value + first_element(call, unit, V) + begin * value_stride + unit.value, value_stride);
}

/// The unit's part of a state in memory into [values, keys], padded; zeros for null. And back.
template <class Real>
void load_state(const MatrixStateBackward<Real>& call, const Unit& unit, const Real* state,
                const MatrixStateChunk<Real>& c, Real* to) {
  const Index K = call.key_size, row = call.keys_first ? 1 : K, step = call.keys_first ? call.value_size : 1;
  std::fill_n(to, c.values * c.keys, Real(0));
  for (Index i = 0; state != nullptr && i < unit.width; ++i) {
    for (Index n = 0; n < K; ++n) to[i * c.keys + n] = state[(unit.value + i) * row + n * step];
  }
}
template <class Real>
void store_state(const MatrixStateBackward<Real>& call, const Unit& unit, const MatrixStateChunk<Real>& c,
                 Real* state) {
  const Index K = call.key_size, row = call.keys_first ? 1 : K, step = call.keys_first ? call.value_size : 1;
  for (Index i = 0; state != nullptr && i < unit.width; ++i) {
    for (Index n = 0; n < K; ++n) state[(unit.value + i) * row + n * step] = c.grad_state[i * c.keys + n];
  }
}

/// The chunks between two kept states.
template <class Real>
struct Stretch {
  MatrixStateChunk<Real> chunks[chunks_of_stretch];
  Real* states;  ///< [chunks, values, keys], before each chunk
};

/// In scratch memory of this thread.
template <class Real>
Stretch<Real> place_stretch(Index keys, Index values) {
  Stretch<Real> stretch{};
  const auto place = [&](Real* memory) {
    Index taken = 0;
    const auto take = [&](Real*& part, Index count) {
      part = memory == nullptr ? nullptr : memory + taken;
      taken += count;
    };
    MatrixStateChunk<Real> shared{};
    shared.keys = keys, shared.values = values;
    shared.place_work(take);
    for (MatrixStateChunk<Real>& chunk : stretch.chunks) {
      chunk = shared;
      chunk.place_numbers(take);
    }
    take(stretch.states, chunks_of_stretch * values * keys);
    return taken;
  };
  place(scratch<Real>(Scratch::local, place(nullptr)));
  return stretch;
}

/// The tokens between two kept states: forwards once for the states before each chunk, then back.
template <bool delta, bool bonus, class Real>
void descend_stretch(const MatrixStateBackward<Real>& call, const Unit& unit, Index begin, Stretch<Real>& stretch,
                     const KeyGradients<Real>& to) {
  MatrixStateChunk<Real>* const chunks = stretch.chunks;
  const Index tokens = std::min(kept_state_tokens, call.time - begin), state = chunks->values * chunks->keys;
  const Index count = (tokens + chunk_tokens - 1) / chunk_tokens;
  const Index matrix = call.key_size * call.value_size, head = unit.batch * call.heads + unit.head;
  load_state(call, unit, call.kept + (head * kept_states(call.time) + begin / kept_state_tokens) * matrix, *chunks,
             stretch.states);
  for (Index index = 0; index < count; ++index) {
    load_chunk<delta, bonus>(call, unit, begin + index * chunk_tokens, chunks[index]);
    Real* const before = stretch.states + index * state;
    if (index + 1 < count) advance_state<delta>(chunks[index], before, before + state);
  }
  for (Index index = count - 1; index >= 0; --index) {
    const MatrixStateChunk<Real>& c = chunks[index];
    prefetch_outputs(call, unit, begin + index * chunk_tokens, c.tokens, to);
    prefetch_inputs(call, unit, begin + index * chunk_tokens - kept_state_tokens);
    if (c.safe) {
      descend_in_matrices<delta, bonus>(c, stretch.states + index * state);
    } else {
      descend_in_tokens<delta, bonus>(c, stretch.states + index * state);
    }
    if (bonus) add_bonus(c);
    finish_decays(call, c);
    store_chunk<delta>(call, unit, begin + index * chunk_tokens, c, to);
  }
}

template <bool delta, bool bonus, class Real>
void backward_unit(const MatrixStateBackward<Real>& call, const Unit& unit, const KeyGradients<Real>& to,
                   Real* vectors) {
  const Index K = call.key_size, matrix = K * call.value_size, head = unit.batch * call.heads + unit.head;
  Stretch<Real> stretch = place_stretch<Real>(in_tiles(K), in_tiles(unit.width));
  const MatrixStateChunk<Real>& c = stretch.chunks[0];
  std::fill_n(c.grad_bonus, c.keys, Real(0));
  std::fill_n(c.grad_fixed_decay, c.keys, Real(0));
  std::fill_n(c.bonus, c.keys, Real(0));
  if (bonus) std::copy_n(call.bonus + unit.head * K, K, c.bonus);
  load_state(call, unit, offset(call.grad_final_state, head * matrix), c, c.grad_state);
  for (Index index = kept_states(call.time) - 1; index >= 0; --index) {
    descend_stretch<delta, bonus>(call, unit, index * kept_state_tokens, stretch, to);
  }
  store_state(call, unit, c, offset(call.grad_state, head * matrix));
  std::copy_n(c.grad_bonus, K, vectors);
  std::copy_n(c.grad_fixed_decay, K, vectors + K);
}

template <bool delta, bool bonus, class Real>
void backward_units(const MatrixStateBackward<Real>& call, const Split<Real>& split) {
  parallel_for(call.batch * call.heads * split.tiles, 1, [=](Index begin, Index end) {
    for (Index index = begin; index < end; ++index) {
      const Index head = index / split.tiles, tile = index % split.tiles, value = tile * split.tile_values;
      const Unit unit = {head / call.heads, head % call.heads, value,
                         std::min(split.tile_values, call.value_size - value)};
      backward_unit<delta, bonus>(call, unit, key_gradients(call, split, tile),
                                  split.vectors + index * 2 * call.key_size);
    }
  });
}

template <class Real>
Split<Real> split_work(const MatrixStateBackward<Real>& call) {
  Split<Real> split;
  const Index heads = call.batch * call.heads;
  split.key_elements = heads * call.time * call.key_size;
  split.tile_values = call.value_size;
  if (heads < few_heads && call.value_size > least_tile) {
    const Index wanted = (few_heads + heads - 1) / std::max<Index>(heads, 1);
    split.tile_values = std::max(least_tile, in_tiles((call.value_size + wanted - 1) / wanted));
    split.tiles = (call.value_size + split.tile_values - 1) / split.tile_values;
  }
  const Index partials = split.tiles > 1 ? split.tiles * 5 * split.key_elements : 0;
  split.partials = scratch<Real>(Scratch::partials, partials + heads * split.tiles * 2 * call.key_size);
  split.vectors = split.partials + partials;
  return split;
}

/// Adds up the tiles' key gradients.
template <class Real>
void sum_tiles(const MatrixStateBackward<Real>& call, const Split<Real>& split) {
  const KeyGradients<Real> whole = key_gradients(call, Split<Real>{}, 0);
  const Index count = split.key_elements;
  parallel_simd(count, streaming_grain, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    Real* const targets[] = {whole.receptance, whole.key, whole.a, whole.b, whole.decay};
    for (Index array = 0; array < 5; ++array) {
      Real* const to = targets[array];
      if (to == nullptr) continue;
      for (Index tile = 0; tile < split.tiles; ++tile) {
        const Real* const from = split.partials + (tile * 5 + array) * count;
#pragma omp simd
        for (Index i = begin; i < end; ++i) to[i] = tile == 0 ? from[i] : to[i] + from[i];
      }
    }
  });
}

/// Adds up one of the two vectors of all units of each head.
template <class Real>
void sum_vectors(const MatrixStateBackward<Real>& call, const Split<Real>& split, Index which, Real* to) {
  const Index K = call.key_size;
  std::fill_n(to, call.heads * K, Real(0));
  for (Index index = 0; index < call.batch * call.heads * split.tiles; ++index) {
    const Real* const from = split.vectors + (index * 2 + which) * K;
    Real* const sum = to + index / split.tiles % call.heads * K;
    for (Index n = 0; n < K; ++n) sum[n] += from[n];
  }
}

}  // namespace

template <class Real>
void matrix_state_backward(const MatrixStateBackward<Real>& call) {
  const Split<Real> split = split_work(call);
  if (call.bonus != nullptr) {
    backward_units<false, true>(call, split);
  } else if (call.a != nullptr) {
    backward_units<true, false>(call, split);
  } else {
    backward_units<false, false>(call, split);
  }
  if (split.tiles > 1) sum_tiles(call, split);
  if (call.bonus != nullptr) sum_vectors(call, split, 0, call.grad_bonus);
  if (call.fixed_decay && call.grad_decay != nullptr) sum_vectors(call, split, 1, call.grad_decay);
}

template void matrix_state_backward<float>(const MatrixStateBackward<float>&);
template void matrix_state_backward<double>(const MatrixStateBackward<double>&);

}  // namespace rwkvlab::kernels
