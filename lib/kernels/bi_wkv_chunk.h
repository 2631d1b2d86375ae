// How Bi-WKV is cut into pieces, and what is computed in one: plain sums over a chunk of tokens, for a tile of
// channels, all scaled by one exponent per channel. Names as in bi_wkv.h. Included by this folder's sources only.
#pragma once

#include <algorithm>

#include "kernels/bi_wkv.h"
#include "kernels/clones.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/vector_math.h"

namespace rwkvlab::kernels::bi_wkv {

inline constexpr Index tile = 32;            ///< channels that go through time together
inline constexpr Index longest_chunk = 256;  ///< tokens; the sums of a chunk then stay in the second-level cache
inline constexpr Index rows_ahead = 16;      ///< tokens ahead of its turn that a row of a tile is asked for
inline constexpr double empty_exponent = -1e30;

/// A chunk of tokens of one batch entry, and a tile of channels.
struct Piece {
  Index batch = 0, channel = 0, width = 0, tokens = 0;
  Index start = 0;  ///< of its first element in an array [batch, time, channels]
};

/// How the work is cut: by the sizes alone. Pieces are counted chunk by chunk within a unit, a unit being a batch entry
/// and a tile of channels.
struct Plan {
  explicit Plan(const SequenceSize& s)
      : size(s),
        tiles((s.channels + tile - 1) / tile),
        chunks(std::max<Index>(1, (s.time + longest_chunk - 1) / longest_chunk)),
        chunk((s.time + chunks - 1) / chunks) {}
  Index units() const { return size.batch * tiles; }
  Index pieces() const { return units() * chunks; }
  RWKVLAB_INLINE Index tokens(Index index) const {
    const Index begin = index * chunk, left = size.time - begin;
    return left < chunk ? left : chunk;
  }
  RWKVLAB_INLINE Piece piece(Index index) const {
    const Index unit = index / chunks, number = index % chunks, batch = unit / tiles, channel = unit % tiles * tile;
    const Index left = size.channels - channel;
    return {batch, channel, left < tile ? left : tile, tokens(number),
            (batch * size.time + number * chunk) * size.channels + channel};
  }
  /// Start of the piece that a thread finishes next, as a rule: its tokens are asked for meanwhile. Chunks of a unit
  /// are finished from the last to the first.
  RWKVLAB_INLINE Index next(Index index) const {
    if (chunks > 1) return piece(index % chunks > 0 ? index - 1 : index).start;
    return piece(index + 1 < pieces() ? index + 1 : index).start;
  }

  SequenceSize size;
  Index tiles, chunks, chunk;
};

/// e^-w and e^u, [channels].
template <class Real>
struct Rates {
  const Real* fade = nullptr;
  const Real* bonus = nullptr;
};

/// Decayed sums of tokens, a e^q and b e^q. Of keys: of values, and of ones. Of gradients: of h, and of h y.
template <class Real>
struct Sums {
  alignas(64) double q[tile];
  alignas(64) Real a[tile];
  alignas(64) Real b[tile];
};

/// Before join: the sums of the chunk's own tokens, as they reach the token after it (left) and the one before it
/// (right). After: those of all tokens to its left and to its right, as they reach its ends.
template <class Real>
struct ChunkSums {
  Sums<Real> left, right;
  alignas(64) double own[tile];  ///< exponent of the chunk's own tokens
};

template <class Real>
RWKVLAB_INLINE void clear(Sums<Real>& sums) {
  for (Index c = 0; c < tile; ++c) {
    sums.q[c] = empty_exponent;
    sums.a[c] = sums.b[c] = 0;
  }
}

/// sums <- sums decayed over `tokens` tokens, and `more`.
template <class Real>
RWKVLAB_INLINE void add_decayed(Sums<Real>& sums, const Real* decay, Index width, Index tokens,
                                const Sums<Real>& more) {
  for (Index c = 0; c < width; ++c) {
    const double q = sums.q[c] - static_cast<double>(decay[c]) * static_cast<double>(tokens);
    const double largest = q > more.q[c] ? q : more.q[c];
    const Real old = vector_exp(static_cast<Real>(q - largest));
    const Real added = vector_exp(static_cast<Real>(more.q[c] - largest));
    sums.q[c] = largest;
    sums.a[c] = old * sums.a[c] + added * more.a[c];
    sums.b[c] = old * sums.b[c] + added * more.b[c];
  }
}

/// Turns the sums of a unit's chunks into what they start from.
template <class Real>
RWKVLAB_INLINE void join(const Plan& plan, Index unit, const Real* decay, ChunkSums<Real>* sums) {
  const Piece piece = plan.piece(unit * plan.chunks);
  ChunkSums<Real>* const first = sums + unit * plan.chunks;
  Sums<Real> left, right;
  clear(left);
  clear(right);
  for (Index i = 0; i < plan.chunks; ++i) {
    const Sums<Real> own = first[i].left;
    first[i].left = left;
    add_decayed(left, decay + piece.channel, piece.width, plan.tokens(i), own);
  }
  for (Index i = plan.chunks - 1; i >= 0; --i) {
    const Sums<Real> own = first[i].right;
    first[i].right = right;
    add_decayed(right, decay + piece.channel, piece.width, plan.tokens(i), own);
  }
}

/// Horner's scheme from both ends: sums of (a, b) per token that are decayed to the chunk's two ends.
template <class Real>
struct EndSums {
  alignas(64) Real left_a[tile] = {}, left_b[tile] = {}, right_a[tile] = {}, right_b[tile] = {}, power[tile];

  EndSums() { std::fill_n(power, tile, Real(1)); }
  RWKVLAB_INLINE void add(Index c, Real fade, Real a, Real b) {
    left_a[c] = fade * left_a[c] + a;
    left_b[c] = fade * left_b[c] + b;
    right_a[c] += power[c] * a;
    right_b[c] += power[c] * b;
    power[c] *= fade;
  }
  /// `to_left`: 0 where no token to the left is reached. Exponents are set by the caller.
  RWKVLAB_INLINE void write(ChunkSums<Real>& sums, Real to_right, Real to_left) const {
    for (Index c = 0; c < tile; ++c) {
      sums.left.a[c] = to_right * left_a[c];
      sums.left.b[c] = to_right * left_b[c];
      sums.right.a[c] = to_left * right_a[c];
      sums.right.b[c] = to_left * right_b[c];
    }
  }
};

/// weights <- e^(k - own), own being the chunk's largest key, which goes into `sums`; with `summed`, the chunk's own
/// sums too. Returns how far the keys of a channel are apart at most.
template <bool full, bool summed, class Real>
RWKVLAB_INLINE Real weigh(const BiWkvInputs<Real>& in, const Rates<Real>& rates, const Piece& piece, Real* weights,
                          ChunkSums<Real>& sums) {
  const Index width = full ? tile : piece.width, channels = in.size.channels;
  alignas(64) Real largest[tile] = {}, smallest[tile] = {};
  EndSums<Real> ends;
  const Real* key = in.key + piece.start;
  const Real* value = in.value + piece.start;
  for (Index c = 0; c < width; ++c) largest[c] = smallest[c] = key[c];
  for (Index t = 1; t < piece.tokens; ++t) {
    key += channels;
    prefetch(key + rows_ahead * channels, width), prefetch(value + (t + rows_ahead) * channels, width);
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      largest[c] = key[c] > largest[c] ? key[c] : largest[c];
      smallest[c] = key[c] < smallest[c] ? key[c] : smallest[c];
    }
  }
  key = in.key + piece.start;
  const Real* const fade = rates.fade + piece.channel;
  Real* to = weights + piece.start;
  for (Index t = 0; t < piece.tokens; ++t, key += channels, value += channels, to += channels) {
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Real e = vector_exp_nonpositive(key[c] - largest[c]);
      to[c] = e;
      if constexpr (summed) ends.add(c, fade[c], e * value[c], e);
    }
  }
  Real spread = 0;
  for (Index c = 0; c < tile; ++c) {
    spread = largest[c] - smallest[c] > spread ? largest[c] - smallest[c] : spread;
    sums.own[c] = sums.left.q[c] = sums.right.q[c] = largest[c];
  }
  if constexpr (summed) ends.write(sums, 1, in.is_causal ? 0 : 1);
  return spread;
}

/// What a chunk starts from, and its tokens' weights, on one scale: times e^anchor.
template <class Real>
struct Start {
  alignas(64) Real left_a[tile] = {}, left_b[tile] = {}, right_a[tile] = {}, right_b[tile] = {};
  alignas(64) Real own[tile];      ///< factor of the tokens' weights e^(k - largest)
  alignas(64) Real largest[tile];  ///< the chunk's largest key
  alignas(64) double anchor[tile];
  bool is_plain = true;  ///< whether plain sums hold the chunk's unit; else the gradient begins anew

  /// `joined`: whether there are other chunks.
  RWKVLAB_INLINE Start(const ChunkSums<Real>& sums, bool joined) {
    for (Index c = 0; c < tile; ++c) {
      own[c] = 1;
      largest[c] = static_cast<Real>(sums.own[c]);
      anchor[c] = sums.own[c];
    }
    if (!joined) return;
    for (Index c = 0; c < tile; ++c) {
      const double ends = sums.left.q[c] > sums.right.q[c] ? sums.left.q[c] : sums.right.q[c];
      const double m = ends > sums.own[c] ? ends : sums.own[c];
      const Real left = vector_exp(static_cast<Real>(sums.left.q[c] - m));
      const Real right = vector_exp(static_cast<Real>(sums.right.q[c] - m));
      left_a[c] = left * sums.left.a[c];
      left_b[c] = left * sums.left.b[c];
      right_a[c] = right * sums.right.a[c];
      right_b[c] = right * sums.right.b[c];
      own[c] = vector_exp(static_cast<Real>(sums.own[c] - m));
      anchor[c] = m;
    }
  }
};

/// later_a, later_b [tokens, tile] <- A_R and D_R of every token; all 0 in the causal form.
template <bool full, class Real>
RWKVLAB_INLINE void sum_later(const BiWkvInputs<Real>& in, const Rates<Real>& rates, const Piece& piece,
                              const Start<Real>& start, const Real* weights, Real* later_a, Real* later_b) {
  const Index width = full ? tile : piece.width, channels = in.size.channels;
  alignas(64) Real a[tile], b[tile];
  for (Index c = 0; c < tile; ++c) {
    a[c] = start.right_a[c];
    b[c] = start.right_b[c];
  }
  const Real reached = in.is_causal ? 0 : 1;
  const Real* const fade = rates.fade + piece.channel;
  for (Index t = piece.tokens - 1; t >= 0; --t) {
    const Real* const e = weights + piece.start + t * channels;
    const Real* const value = in.value + piece.start + t * channels;
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      later_a[t * tile + c] = a[c];
      later_b[t * tile + c] = b[c];
      const Real weight = reached * start.own[c] * e[c];
      a[c] = fade[c] * a[c] + weight * value[c];
      b[c] = fade[c] * b[c] + weight;
    }
  }
}

/// y of a chunk, and with `traced` the inverse of its denominators. `y` holds the weights that weigh left there.
template <bool full, bool traced, class Real>
RWKVLAB_INLINE void forward_chunk(const BiWkvInputs<Real>& in, const Rates<Real>& rates, const Piece& piece,
                                  const Start<Real>& start, Index next, Real* y, Real* inverses) {
  const Index width = full ? tile : piece.width, channels = in.size.channels;
  Real* const later_a = scratch<Real>(Scratch::local, 2 * piece.tokens * tile);
  Real* const later_b = later_a + piece.tokens * tile;
  sum_later<full>(in, rates, piece, start, y, later_a, later_b);
  alignas(64) Real a[tile], b[tile];
  for (Index c = 0; c < tile; ++c) {
    a[c] = start.left_a[c];
    b[c] = start.left_b[c];
  }
  const Real* const fade = rates.fade + piece.channel;
  const Real* const bonus = rates.bonus + piece.channel;
  for (Index t = 0; t < piece.tokens; ++t) {
    const Real* const value = in.value + piece.start + t * channels;
    Real* const to = y + piece.start + t * channels;
    Real* const kept = traced ? inverses + piece.start + t * channels : nullptr;
    prefetch<2>(y + next + t * channels, width), prefetch<2>(in.value + next + t * channels, width);
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Real weight = start.own[c] * to[c], v = value[c], now = bonus[c] * weight;
      const Real inverse = 1 / (b[c] + later_b[t * tile + c] + now);
      to[c] = (a[c] + later_a[t * tile + c] + now * v) * inverse;
      if constexpr (traced) kept[c] = inverse;
      a[c] = fade[c] * a[c] + weight * v;
      b[c] = fade[c] * b[c] + weight;
    }
  }
}

}  // namespace rwkvlab::kernels::bi_wkv
