#include "kernels/wkv7.h"

#include <algorithm>

#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/vector_math.h"

namespace rwkvlab::kernels {
namespace {

/// Value channels of one unit of the forward pass. Their part of the state, [keys][tile_width], fits the first-level
/// cache for heads of up to 256 channels.
constexpr Index tile_width = 32;
/// Keys are padded to whole groups of this many.
constexpr Index key_group = 16;
/// Value rows that the backward pass carries together: what it reads per key serves all of them.
constexpr Index row_block = 4;

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
RWKVLAB_INLINE Unit unit_at(const Wkv7Size& size, Index index) {
  const Index tiles = (size.value_size + tile_width - 1) / tile_width, value = index % tiles * tile_width;
  const Index head = index / tiles;
  return {head, first_row(size, head, size.key_size), first_row(size, head, size.value_size), value,
          std::min(tile_width, size.value_size - value)};
}

/// The tile between memory, [values][keys], and the form that the loops over value channels need, [keys][values]. Lanes
/// beyond the unit's width are zero and stay so, as their values are.
template <class Real>
RWKVLAB_INLINE void load_tile(const Real* state, Index keys, Index width, Real* tile) {
  for (Index j = 0; j < keys; ++j) {
    for (Index i = 0; i < tile_width; ++i) {
      tile[j * tile_width + i] = state != nullptr && i < width ? state[i * keys + j] : Real(0);
    }
  }
}
template <class Real>
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
template <class Real>
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
template <bool delta, class Real>
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

template <bool delta, class Real>
RWKVLAB_INLINE void forward_unit(const Wkv7Forward<Real>& call, const Unit& unit) {
  const Index keys = call.size.key_size, stride = call.size.key_channels(), first = unit.value * keys;
  const Index matrix = keys * call.size.value_size;
  Real* tile = scratch<Real>(Scratch::local, keys * (tile_width + 1));
  Real* decay = tile + keys * tile_width;
  alignas(64) Real value[tile_width] = {}, read[tile_width] = {}, y[tile_width] = {};
  const Index state_at = unit.state * matrix + first;
  load_tile(call.state == nullptr ? nullptr : call.state + state_at, keys, unit.width, tile);
  if (delta && call.size.time > 0) read_tile(tile, call.a + unit.key_row, keys, read);
  std::fill(decay, decay + keys, Real(1));
  Index at = unit.key_row, value_at = unit.value_row + unit.value;
  for (Index t = 0; t < call.size.time; ++t, at += stride, value_at += call.size.value_channels()) {
    if (call.kept_states != nullptr && t % wkv7_chunk == 0) {
      const Index kept = unit.state * call.size.chunks() + t / wkv7_chunk;
      store_tile(tile, keys, unit.width, call.kept_states + kept * matrix + first);
    }
    if (call.log_decay != nullptr) {
      const Real* log_decay = call.log_decay + at;
#pragma omp simd
      for (Index j = 0; j < keys; ++j) decay[j] = vector_exp(log_decay[j]);
    }
    copy_lanes(call.value + value_at, unit.width, value);
    if (delta && call.read != nullptr) copy_lanes(read, unit.width, call.read + value_at);
    const Real* next = nullptr;
    if (delta) next = call.a + (t + 1 < call.size.time ? at + stride : at);  // The last one's is not used.
    advance_tile<delta>(tile, decay, call.key + at, call.receptance + at, delta ? call.b + at : nullptr, next, keys,
                        value, read, y);
    copy_lanes(y, unit.width, call.y + value_at);
  }
  if (call.final_state != nullptr) store_tile(tile, keys, unit.width, call.final_state + state_at);
}

/// What the backward pass of a head works on, keys padded with zeros: rows of one chunk of tokens, and the gradient of
/// the state.
template <class Real>
struct Chunk {
  Index begin = 0, tokens = 0;
  Index key_row = 0, value_row = 0;                                 ///< of the head's first element of token `begin`
  Index padded = 0;                                                 ///< keys, a multiple of key_group
  Real *receptance, *decay, *key, *a, *b;                           ///< [tokens, padded]
  Real *grad_receptance, *grad_decay, *grad_key, *grad_a, *grad_b;  ///< [tokens, padded]
  Real* states;                                                     ///< [tokens + 1, row_block, padded]
  Real* grad_state;                                                 ///< [value_size, padded]
};

template <class Real>
RWKVLAB_INLINE Chunk<Real> place_chunk(const Wkv7Size& size) {
  Chunk<Real> chunk{};
  chunk.padded = (size.key_size + key_group - 1) / key_group * key_group;
  const Index rows = wkv7_chunk * chunk.padded, states = (wkv7_chunk + 1) * row_block * chunk.padded;
  Real* memory = scratch<Real>(Scratch::local, 10 * rows + states + size.value_size * chunk.padded);
  for (Real** part : {&chunk.receptance, &chunk.decay, &chunk.key, &chunk.a, &chunk.b, &chunk.grad_receptance,
                      &chunk.grad_decay, &chunk.grad_key, &chunk.grad_a, &chunk.grad_b}) {
    *part = memory;
    memory += rows;
  }
  chunk.states = memory;
  chunk.grad_state = memory + states;
  return chunk;
}

/// `count` rows of `keys` into rows of `padded`; zeros for a null source.
template <class Real>
RWKVLAB_INLINE void pad_rows(const Real* from, Index stride, Index count, Index keys, Index padded, Real* to) {
  for (Index row = 0; row < count; ++row) {
    for (Index j = 0; j < padded; ++j) {
      to[row * padded + j] = from != nullptr && j < keys ? from[row * stride + j] : Real(0);
    }
  }
}
template <class Real>
RWKVLAB_INLINE void unpad_rows(const Real* from, Index padded, Index count, Index keys, Index stride, Real* to) {
  if (to == nullptr) return;
  for (Index row = 0; row < count; ++row) {
    for (Index j = 0; j < keys; ++j) to[row * stride + j] = from[row * padded + j];
  }
}
template <class Real>
RWKVLAB_INLINE Real* offset(Real* pointer, Index by) {
  return pointer == nullptr ? nullptr : pointer + by;
}

template <class Real>
RWKVLAB_INLINE void load_chunk(const Wkv7Backward<Real>& call, const Chunk<Real>& chunk) {
  const Index keys = call.size.key_size, stride = call.size.key_channels(), at = chunk.key_row, padded = chunk.padded;
  pad_rows(call.receptance + at, stride, chunk.tokens, keys, padded, chunk.receptance);
  pad_rows(offset(call.log_decay, at), stride, chunk.tokens, keys, padded, chunk.decay);
  pad_rows(call.key + at, stride, chunk.tokens, keys, padded, chunk.key);
  pad_rows(offset(call.a, at), stride, chunk.tokens, keys, padded, chunk.a);
  pad_rows(offset(call.b, at), stride, chunk.tokens, keys, padded, chunk.b);
  Real* decay = chunk.decay;
  const Index count = chunk.tokens * padded;
#pragma omp simd
  for (Index i = 0; i < count; ++i) decay[i] = vector_exp(decay[i]);
  for (Real* grad : {chunk.grad_receptance, chunk.grad_decay, chunk.grad_key, chunk.grad_a, chunk.grad_b}) {
    for (Index i = 0; i < count; ++i) grad[i] = 0;
  }
}

template <class Real>
RWKVLAB_INLINE void store_chunk(const Wkv7Backward<Real>& call, const Chunk<Real>& chunk) {
  const Index keys = call.size.key_size, stride = call.size.key_channels(), at = chunk.key_row, padded = chunk.padded;
  Real* grad_decay = chunk.grad_decay;
  const Real* decay = chunk.decay;
  const Index count = chunk.tokens * padded;
#pragma omp simd
  for (Index i = 0; i < count; ++i) grad_decay[i] *= decay[i];
  unpad_rows(chunk.grad_receptance, padded, chunk.tokens, keys, stride, call.grad_receptance + at);
  unpad_rows(chunk.grad_decay, padded, chunk.tokens, keys, stride, offset(call.grad_log_decay, at));
  unpad_rows(chunk.grad_key, padded, chunk.tokens, keys, stride, call.grad_key + at);
  unpad_rows(chunk.grad_a, padded, chunk.tokens, keys, stride, offset(call.grad_a, at));
  unpad_rows(chunk.grad_b, padded, chunk.tokens, keys, stride, offset(call.grad_b, at));
}

/// Value, gradient of y and what was read, of `rows` value rows of one token.
template <int rows, class Real>
struct RowScalars {
  Real v[rows], g[rows], sa[rows];
};
template <int rows, class Real>
RWKVLAB_INLINE RowScalars<rows, Real> row_scalars(const Wkv7Backward<Real>& call, Index at) {
  RowScalars<rows, Real> s;
  for (int i = 0; i < rows; ++i) {
    s.v[i] = call.value[at + i];
    s.g[i] = call.grad_y[at + i];
    s.sa[i] = call.read != nullptr ? call.read[at + i] : Real(0);
  }
  return s;
}

/// The states of `rows` value rows after each token of the chunk, from the kept one.
template <int rows, class Real>
RWKVLAB_INLINE void recompute_rows(const Wkv7Backward<Real>& call, const Chunk<Real>& chunk, const Real* kept,
                                   Index row) {
  const Index keys = call.size.key_size, padded = chunk.padded;
  pad_rows(kept + row * keys, keys, rows, keys, padded, chunk.states);
  for (Index t = 0; t < chunk.tokens; ++t) {
    const auto s = row_scalars<rows>(call, chunk.value_row + t * call.size.value_channels() + row);
    const Real* before = chunk.states + t * row_block * padded;
    Real* after = chunk.states + (t + 1) * row_block * padded;
    const Real *w = chunk.decay + t * padded, *k = chunk.key + t * padded, *b = chunk.b + t * padded;
    for (Index j = 0; j < padded; j += key_group) {
#pragma omp simd
      for (Index lane = 0; lane < key_group; ++lane) {
        const Index c = j + lane;
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i) {
          after[i * padded + c] = before[i * padded + c] * w[c] + (s.v[i] * k[c] + s.sa[i] * b[c]);
        }
      }
    }
  }
}

template <class Real>
RWKVLAB_INLINE Real fold(const Real* lanes) {
  alignas(64) Real sums[key_group];
  for (Index lane = 0; lane < key_group; ++lane) sums[lane] = lanes[lane];
  for (Index half = key_group / 2; half > 0; half /= 2) {
    for (Index lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

/// The way back through the chunk for `rows` value rows.
template <int rows, class Real>
RWKVLAB_INLINE void descend_rows(const Wkv7Backward<Real>& call, const Chunk<Real>& chunk, Index row) {
  const Index padded = chunk.padded;
  Real* D = chunk.grad_state + row * padded;
  for (Index t = chunk.tokens - 1; t >= 0; --t) {
    const Index at = chunk.value_row + t * call.size.value_channels() + row, offset_t = t * padded;
    const auto s = row_scalars<rows>(call, at);
    const Real* before = chunk.states + t * row_block * padded;
    const Real* after = before + row_block * padded;
    const Real *r = chunk.receptance + offset_t, *k = chunk.key + offset_t, *w = chunk.decay + offset_t;
    const Real *a = chunk.a + offset_t, *b = chunk.b + offset_t;
    Real *dr = chunk.grad_receptance + offset_t, *dw = chunk.grad_decay + offset_t, *dk = chunk.grad_key + offset_t;
    Real *da = chunk.grad_a + offset_t, *db = chunk.grad_b + offset_t;
    alignas(64) Real dv[rows][key_group] = {}, dsa[rows][key_group] = {};
    for (Index j = 0; j < padded; j += key_group) {
#pragma omp simd
      for (Index lane = 0; lane < key_group; ++lane) {
        const Index c = j + lane;
        Real sum_r = 0, sum_w = 0, sum_k = 0, sum_b = 0;
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i) {
          const Real d = D[i * padded + c] + s.g[i] * r[c];
          D[i * padded + c] = d;
          sum_r += after[i * padded + c] * s.g[i];
          sum_w += before[i * padded + c] * d;
          sum_k += d * s.v[i];
          sum_b += d * s.sa[i];
          dv[i][lane] += d * k[c];
          dsa[i][lane] += d * b[c];
        }
        dr[c] += sum_r;
        dw[c] += sum_w;
        dk[c] += sum_k;
        db[c] += sum_b;
      }
    }
    Real through[rows];
    for (int i = 0; i < rows; ++i) {
      call.grad_value[at + i] = fold(dv[i]);
      through[i] = fold(dsa[i]);
    }
    for (Index j = 0; j < padded; j += key_group) {
#pragma omp simd
      for (Index lane = 0; lane < key_group; ++lane) {
        const Index c = j + lane;
        Real sum_a = 0;
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i) {
          sum_a += before[i * padded + c] * through[i];
          D[i * padded + c] = D[i * padded + c] * w[c] + through[i] * a[c];
        }
        da[c] += sum_a;
      }
    }
  }
}

template <int rows, class Real>
RWKVLAB_INLINE void backward_rows(const Wkv7Backward<Real>& call, const Chunk<Real>& chunk, const Real* kept,
                                  Index row) {
  recompute_rows<rows>(call, chunk, kept, row);
  descend_rows<rows>(call, chunk, row);
}

/// One head of one batch entry.
template <class Real>
RWKVLAB_INLINE void backward_unit(const Wkv7Backward<Real>& call, Index head) {
  const Index keys = call.size.key_size, values = call.size.value_size, chunks = call.size.chunks();
  const Index key_row = first_row(call.size, head, keys), value_row = first_row(call.size, head, values);
  Chunk<Real> chunk = place_chunk<Real>(call.size);
  pad_rows(offset(call.grad_final_state, head * values * keys), keys, values, keys, chunk.padded, chunk.grad_state);
  for (Index index = chunks - 1; index >= 0; --index) {
    chunk.begin = index * wkv7_chunk;
    chunk.tokens = std::min(wkv7_chunk, call.size.time - chunk.begin);
    chunk.key_row = key_row + chunk.begin * call.size.key_channels();
    chunk.value_row = value_row + chunk.begin * call.size.value_channels();
    load_chunk(call, chunk);
    const Real* kept = call.kept_states + (head * chunks + index) * values * keys;
    Index row = 0;
    for (; row + row_block <= values; row += row_block) backward_rows<row_block>(call, chunk, kept, row);
    for (; row < values; ++row) backward_rows<1>(call, chunk, kept, row);
    store_chunk(call, chunk);
  }
  unpad_rows(chunk.grad_state, chunk.padded, values, keys, keys, offset(call.grad_state, head * values * keys));
}

}  // namespace

template <class Real>
void wkv7_forward(const Wkv7Forward<Real>& call) {
  const Index tiles = (call.size.value_size + tile_width - 1) / tile_width;
  parallel_simd(call.size.states() * tiles, 1, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index index = begin; index < end; ++index) {
      const Unit unit = unit_at(call.size, index);
      if (call.a != nullptr) {
        forward_unit<true>(call, unit);
      } else {
        forward_unit<false>(call, unit);
      }
    }
  });
}

template <class Real>
void wkv7_backward(const Wkv7Backward<Real>& call) {
  parallel_simd(call.size.states(), 1, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index head = begin; head < end; ++head) backward_unit(call, head);
  });
}

template void wkv7_forward<float>(const Wkv7Forward<float>&);
template void wkv7_forward<double>(const Wkv7Forward<double>&);
template void wkv7_backward<float>(const Wkv7Backward<float>&);
template void wkv7_backward<double>(const Wkv7Backward<double>&);

}  // namespace rwkvlab::kernels
