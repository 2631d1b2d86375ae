#include "kernels/bi_wkv.h"

#include <cmath>
#include <cstdint>
#include <initializer_list>

#include "kernels/bi_wkv_chunk.h"
#include "kernels/bi_wkv_chunk_backward.h"
#include "kernels/bi_wkv_log.h"
#include "kernels/simd.h"

namespace rwkvlab::kernels {
namespace {

using bi_wkv::ChunkSums;
using bi_wkv::Piece;
using bi_wkv::Plan;
using bi_wkv::tile;

/// What the threads share while one call runs: memory of the thread that calls.
template <class Real>
struct Shared {
  Shared(const BiWkvInputs<Real>& in, const Plan& plan) {
    const Index channels = in.size.channels, pieces = plan.pieces();
    const auto size = static_cast<std::size_t>(pieces) * (2 * sizeof(ChunkSums<Real>) + 2 * tile * sizeof(Real) + 1) +
                      2 * static_cast<std::size_t>(channels) * sizeof(Real);
    std::byte* const memory = scratch_bytes(Scratch::partials, size);
    sums = reinterpret_cast<ChunkSums<Real>*>(memory);
    gradient_sums = sums + pieces;
    grad_rates = reinterpret_cast<Real*>(gradient_sums + pieces);
    Real* const values = grad_rates + pieces * 2 * tile;
    is_plain = reinterpret_cast<std::uint8_t*>(values + 2 * channels);
    // std::exp, because an error of the decay is multiplied by the distance.
    for (Index c = 0; c < channels; ++c) {
      values[c] = std::exp(-in.decay[c]);
      values[channels + c] = std::exp(in.first[c]);
    }
    rates = {values, values + channels};
  }
  ChunkSums<Real>*sums, *gradient_sums;  ///< [pieces]
  Real* grad_rates;                      ///< [pieces, 2, tile]
  std::uint8_t* is_plain;                ///< [pieces]: whether plain sums hold the chunk
  bi_wkv::Rates<Real> rates;
};

/// Plain sums span e^-bound to e^bound of the largest term, and products of two of them must fit into a float.
template <class Real>
RWKVLAB_INLINE bool is_plain(const BiWkvInputs<Real>& in, const Piece& piece, Real spread) {
  constexpr Real bound = 20, key_bound = 60;
  const Real time = static_cast<Real>(in.size.time);
  // Of both forms, every token of the bidirectional one sees the largest key; of the causal one the first ones do not.
  bool plain = !in.is_causal || spread <= key_bound;
  for (Index c = piece.channel; c < piece.channel + piece.width; ++c) {
    plain = plain && std::fabs(in.decay[c]) * time <= bound && std::fabs(in.first[c]) <= bound;
  }
  return plain;
}

/// The steps of a pass. Between two of them the chunks of a unit are joined.
enum class Stage { weigh_tokens, sum_gradients, finish };

template <bool full, class Real>
RWKVLAB_INLINE void weigh(const BiWkvInputs<Real>& in, const Plan& plan, const Shared<Real>& shared, Index index,
                          Real* weights) {
  const Piece piece = plan.piece(index);
  const Real spread = plan.chunks > 1
                          ? bi_wkv::weigh<full, true>(in, shared.rates, piece, weights, shared.sums[index])
                          : bi_wkv::weigh<full, false>(in, shared.rates, piece, weights, shared.sums[index]);
  shared.is_plain[index] = is_plain(in, piece, spread) ? 1 : 0;
}

/// Whether plain sums hold all chunks of the unit that piece `index` belongs to.
template <class Real>
RWKVLAB_INLINE bool is_plain_unit(const Plan& plan, const Shared<Real>& shared, Index index) {
  bool plain = true;
  const Index first = index - index % plan.chunks;
  for (Index i = 0; i < plan.chunks; ++i) plain = plain && shared.is_plain[first + i] != 0;
  return plain;
}

template <bool full, class Real>
RWKVLAB_INLINE void forward_piece(const BiWkvInputs<Real>& in, const Plan& plan, const Shared<Real>& shared,
                                  Stage stage, Index index, Real* y) {
  if (stage == Stage::weigh_tokens) return weigh<full>(in, plan, shared, index, y);
  if (is_plain_unit(plan, shared, index)) {
    const bi_wkv::Start<Real> start(shared.sums[index], plan.chunks > 1);
    bi_wkv::forward_chunk<full>(in, shared.rates, plan.piece(index), start, y);
  } else if (index % plan.chunks == 0) {
    bi_wkv::log_forward(in, plan.piece(index), y);
  }
}

template <bool full, class Real>
RWKVLAB_INLINE void backward_piece(const BiWkvInputs<Real>& in, const Plan& plan, const Shared<Real>& shared,
                                   Stage stage, Index index, const BiWkvGradients<Real>& gradients) {
  if (stage == Stage::weigh_tokens) return weigh<full>(in, plan, shared, index, gradients.grad_key);
  Real* const grad_rates = shared.grad_rates + index * 2 * tile;
  if (!is_plain_unit(plan, shared, index)) {
    if (stage != Stage::finish) return;
    std::fill(grad_rates, grad_rates + 2 * tile, Real(0));
    if (index % plan.chunks == 0) bi_wkv::log_backward(in, plan.piece(index), gradients, grad_rates);
    return;
  }
  const Piece piece = plan.piece(index);
  const bi_wkv::Start<Real> start(shared.sums[index], plan.chunks > 1);
  ChunkSums<Real>& others = shared.gradient_sums[index];
  if (stage == Stage::sum_gradients) {
    bi_wkv::sum_gradients<full>(in, shared.rates, piece, start, gradients.grad_y, gradients.grad_key, others);
    return;
  }
  using From = bi_wkv::GradientStart<Real>;
  const From left = plan.chunks > 1 ? From(others.left, start) : From();
  const From right = plan.chunks > 1 ? From(others.right, start) : From();
  bi_wkv::backward_chunk<full>(in, shared.rates, piece, start, left, right, gradients, grad_rates);
}

/// Runs the stages of a pass; `body_of(stage, is_reversed)` computes pieces [begin, end). A thread that has a unit for
/// itself goes through all its stages while the tokens are in the cache, back and forth; where units are fewer than
/// threads, all share every stage. Both compute the same.
template <class Real, class BodyOf>
void run_stages(const BiWkvInputs<Real>& in, const Plan& plan, const Shared<Real>& shared,
                std::initializer_list<Stage> stages, const BodyOf& body_of) {
  const Index chunks = plan.chunks;
  const auto join = [=](ChunkSums<Real>* sums) {
    return [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
      for (Index unit = begin; unit < end; ++unit) bi_wkv::join(plan, unit, in.decay, sums);
    };
  };
  const auto sums_of = [&](Stage stage) { return stage == Stage::weigh_tokens ? shared.sums : shared.gradient_sums; };
  if (chunks == 1 || plan.units() >= threads()) {
    parallel_for(plan.units(), 1, [&](Index begin, Index end) {
      for (Index unit = begin; unit < end; ++unit) {
        bool is_reversed = false;
        for (const Stage stage : stages) {
          if (chunks == 1 && stage == Stage::sum_gradients) continue;  // No other chunk wants the sums.
          run_cloned(body_of(stage, is_reversed), unit * chunks, (unit + 1) * chunks);
          if (stage != Stage::finish && chunks > 1) run_cloned(join(sums_of(stage)), unit, unit + 1);
          is_reversed = !is_reversed;
        }
      }
    });
    return;
  }
  for (const Stage stage : stages) {
    parallel_simd(plan.pieces(), 1, body_of(stage, false));
    if (stage != Stage::finish) parallel_simd(plan.units(), 1, join(sums_of(stage)));
  }
}

}  // namespace

template <class Real>
void bi_wkv_forward(const BiWkvInputs<Real>& in, Real* y) {
  const Plan plan(in.size);
  if (in.size.elements() == 0) return;
  const Shared<Real> shared(in, plan);
  const auto body_of = [=](Stage stage, bool is_reversed) {
    return [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
      for (Index i = begin; i < end; ++i) {
        const Index index = is_reversed ? begin + end - 1 - i : i;
        if (plan.piece(index).width == tile) {
          forward_piece<true>(in, plan, shared, stage, index, y);
        } else {
          forward_piece<false>(in, plan, shared, stage, index, y);
        }
      }
    };
  };
  run_stages(in, plan, shared, {Stage::weigh_tokens, Stage::finish}, body_of);
}

template <class Real>
void bi_wkv_backward(const BiWkvInputs<Real>& in, const BiWkvGradients<Real>& gradients) {
  const Index channels = in.size.channels;
  const Plan plan(in.size);
  std::fill(gradients.grad_decay, gradients.grad_decay + channels, Real(0));
  std::fill(gradients.grad_first, gradients.grad_first + channels, Real(0));
  if (in.size.elements() == 0) return;
  const Shared<Real> shared(in, plan);
  const auto body_of = [=](Stage stage, bool is_reversed) {
    return [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
      for (Index i = begin; i < end; ++i) {
        const Index index = is_reversed ? begin + end - 1 - i : i;
        if (plan.piece(index).width == tile) {
          backward_piece<true>(in, plan, shared, stage, index, gradients);
        } else {
          backward_piece<false>(in, plan, shared, stage, index, gradients);
        }
      }
    };
  };
  run_stages(in, plan, shared, {Stage::weigh_tokens, Stage::sum_gradients, Stage::finish}, body_of);
  for (Index index = 0; index < plan.pieces(); ++index) {
    const Piece piece = plan.piece(index);
    const Real* const from = shared.grad_rates + index * 2 * tile;
    for (Index c = 0; c < piece.width; ++c) {
      gradients.grad_decay[piece.channel + c] += from[c];
      gradients.grad_first[piece.channel + c] += from[tile + c];
    }
  }
}

template void bi_wkv_forward<float>(const BiWkvInputs<float>&, float*);
template void bi_wkv_forward<double>(const BiWkvInputs<double>&, double*);
template void bi_wkv_backward<float>(const BiWkvInputs<float>&, const BiWkvGradients<float>&);
template void bi_wkv_backward<double>(const BiWkvInputs<double>&, const BiWkvGradients<double>&);

}  // namespace rwkvlab::kernels
