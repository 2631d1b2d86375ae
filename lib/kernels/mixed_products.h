// Projections that see token-shifted input: each blend of kernels/token_shift.h is made where its product reads it,
// block of tokens by block of tokens, instead of in memory.
#pragma once

#include <span>
#include <type_traits>
#include <vector>

#include "kernels/matmul.h"
#include "kernels/token_grid.h"

namespace rwkvlab::kernels {

/// y_j = b_j W_jᵀ with the blends b_j = x ⊙ mix_j + shifted(x) ⊙ (1 - mix_j) of token_mix_forward. Operand: float,
/// double, or Bfloat16 for operands in bfloat16 (the blends too, rounded as round_to_bfloat16 does) with sums in float.
template <class Operand>
struct MixedProducts {
  /// Of sums and of what is not an operand.
  using Real = std::conditional_t<std::is_same_v<Operand, Bfloat16>, float, Operand>;

  SequenceSize size;
  const Real* x = nullptr;                  ///< [batch, time, channels]
  const Real* previous = nullptr;           ///< [batch, channels]; or null for 0
  const TokenShift* shift = nullptr;        ///< in place of "the token before"; `previous` is null then
  std::span<const Real* const> mixes;       ///< of every j [channels]; at most max_token_mixes
  std::span<const Operand* const> weights;  ///< of every j [outputs, channels]
  std::span<const Index> outputs;           ///< of every j

  /// The products, for those who only count.
  std::vector<MatmulCall> products() const;
};

/// Whether so many rows are enough for blocks that keep several threads busy. For fewer, token_mix_forward and products
/// that are cut otherwise are faster.
bool mixes_in_blocks(Index rows);

/// y: out, of every j [batch, time, outputs]. blends: out, of every j [batch, time, channels]; null entries are not
/// kept. The same bits for every thread count.
template <class Operand>
void mixed_products(const MixedProducts<Operand>& call, std::span<Operand* const> blends,
                    std::span<typename MixedProducts<Operand>::Real* const> y);

}  // namespace rwkvlab::kernels
