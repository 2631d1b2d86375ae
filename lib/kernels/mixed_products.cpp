#include "kernels/mixed_products.h"

#include <algorithm>

#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/token_blocks.h"
#include "kernels/token_mixing.h"

// Apart, a blend is written to memory and read from there, in bfloat16 twice; here it never leaves the cache.

namespace rwkvlab::kernels {
namespace {

template <class Operand>
using RealOf = typename MixedProducts<Operand>::Real;

// to [rows, channels] <- blend j of rows [first, first + rows). Groups of channels may be shorter than a vector of
// bfloat16, so a row is rounded as a whole, from `unrounded` [channels].
template <class Operand>
void blend_rows(const Mixing<RealOf<Operand>>& given, std::size_t j, Index first, Index rows, Operand* to,
                RealOf<Operand>* unrounded) {
  using Real = RealOf<Operand>;
  constexpr bool is_rounded = !std::is_same_v<Operand, Real>;
  run_cloned(
      [mixing = given, j, first, to, unrounded](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
        const Index channels = mixing.size.channels;
        const Real* const mix = mixing.mix[j];
        for (Index i = begin; i < end; ++i) {
          const Index row = first + i, t = row % mixing.size.time;
          const Real* const x = mixing.x + row * channels;
          Operand* const out = to + i * channels;
          Real* blend = unrounded;
          if constexpr (!is_rounded) blend = out;
          for (Index g = 0; g < mixing.pairs.count; ++g) {
            const TokenShift::Group group = mixing.pairs.groups[g];
            const Real* const partner = mixing.partner(group, row, t);
#pragma omp simd
            for (Index c = group.begin; c < group.end; ++c) blend[c] = x[c] * mix[c] + partner[c] * (1 - mix[c]);
          }
          if constexpr (is_rounded) {
#pragma omp simd
            for (Index c = 0; c < channels; ++c) out[c] = to_bfloat16(blend[c]);
          }
        }
      },
      0, rows);
}

}  // namespace

bool mixes_in_blocks(Index rows) { return tokens_of_block(rows) > 0; }

template <class Operand>
std::vector<MatmulCall> MixedProducts<Operand>::products() const {
  std::vector<MatmulCall> calls;
  for (const Index columns : outputs) {
    MatmulCall& call = calls.emplace_back();
    call.m = size.rows();
    call.n = columns;
    call.k = size.channels;
    call.transpose_b = true;
    call.bfloat16 = std::is_same_v<Operand, Bfloat16>;
  }
  return calls;
}

template <class Operand>
void mixed_products(const MixedProducts<Operand>& call, std::span<Operand* const> blends,
                    std::span<RealOf<Operand>* const> y) {
  using Real = RealOf<Operand>;
  for (const MatmulCall& product : call.products()) note_matmul(product);
  const Index channels = call.size.channels;
  const PairsOf pairs_of(call.size, call.shift);
  Mixing<Real> mixing(call.size, *pairs_of, call.x, call.previous, scratch<Real>(Scratch::partials, channels));
  std::copy(call.mixes.begin(), call.mixes.end(), mixing.mix.begin());
  const Index tokens = call.size.rows(), block = tokens_of_block(tokens);
  parallel_for(tokens, block > 0 ? block : std::max<Index>(tokens, 1), [&](Index begin, Index end) {
    const Index rows = end - begin;
    Real* const unrounded = scratch<Real>(Scratch::local, (rows + 1) * channels);
    Operand* const own = reinterpret_cast<Operand*>(unrounded + channels);
    for (std::size_t j = 0; j < y.size(); ++j) {
      const Index outputs = call.outputs[j];
      Operand* const blend = blends[j] != nullptr ? blends[j] + begin * channels : own;
      blend_rows<Operand>(mixing, j, begin, rows, blend, unrounded);
      serial_product(gapless_product(rows, outputs, channels, false, true), blend, call.weights[j],
                     y[j] + begin * outputs);
    }
  });
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Operand)                                                              \
  template struct MixedProducts<Operand>;                                                         \
  template void mixed_products<Operand>(const MixedProducts<Operand>&, std::span<Operand* const>, \
                                        std::span<MixedProducts<Operand>::Real* const>);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)
RWKVLAB_INSTANTIATE(Bfloat16)

}  // namespace rwkvlab::kernels
