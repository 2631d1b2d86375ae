#include "kernels/bi_wkv.h"

#include <cmath>
#include <cstdint>

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

/// Steps of a pass, as bits: those that are separated by a look at all chunks run one after the other.
enum Stage : int { weigh_tokens = 1, sum_gradients = 2, finish = 4 };

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
RWKVLAB_INLINE void forward_piece(const BiWkvInputs<Real>& in, const Plan& plan, const Shared<Real>& shared, int stages,
                                  Index index, Real* y) {
  if ((stages & weigh_tokens) != 0) weigh<full>(in, plan, shared, index, y);
  if ((stages & finish) == 0) return;
  if (is_plain_unit(plan, shared, index)) {
    const bi_wkv::Start<Real> start(shared.sums[index], plan.chunks > 1);
    bi_wkv::forward_chunk<full>(in, shared.rates, plan.piece(index), start, y);
  } else if (index % plan.chunks == 0) {
    bi_wkv::log_forward(in, plan.piece(index), y);
  }
}

template <bool full, class Real>
RWKVLAB_INLINE void backward_piece(const BiWkvInputs<Real>& in, const Plan& plan, const Shared<Real>& shared,
                                   int stages, Index index, const BiWkvGradients<Real>& gradients) {
  if ((stages & weigh_tokens) != 0) weigh<full>(in, plan, shared, index, gradients.grad_key);
  if ((stages & (sum_gradients | finish)) == 0) return;
  Real* const grad_rates = shared.grad_rates + index * 2 * tile;
  if (!is_plain_unit(plan, shared, index)) {
    if ((stages & finish) == 0) return;
    std::fill(grad_rates, grad_rates + 2 * tile, Real(0));
    if (index % plan.chunks == 0) bi_wkv::log_backward(in, plan.piece(index), gradients, grad_rates);
    return;
  }
  const Piece piece = plan.piece(index);
  const bi_wkv::Start<Real> start(shared.sums[index], plan.chunks > 1);
  ChunkSums<Real>& others = shared.gradient_sums[index];
  if ((stages & sum_gradients) != 0) {
    bi_wkv::sum_gradients<full>(in, shared.rates, piece, start, gradients.grad_y, gradients.grad_key, others);
  }
  if ((stages & finish) == 0) return;
  using From = bi_wkv::GradientStart<Real>;
  const From left = plan.chunks > 1 ? From(others.left, start) : From();
  const From right = plan.chunks > 1 ? From(others.right, start) : From();
  bi_wkv::backward_chunk<full>(in, shared.rates, piece, start, left, right, gradients, grad_rates);
}

template <class Real>
void join_chunks(const BiWkvInputs<Real>& in, const Plan& plan, ChunkSums<Real>* sums) {
  parallel_simd(plan.units(), 1, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index unit = begin; unit < end; ++unit) bi_wkv::join(plan, unit, in.decay, sums);
  });
}

}  // namespace

template <class Real>
void bi_wkv_forward(const BiWkvInputs<Real>& in, Real* y) {
  const Plan plan(in.size);
  if (in.size.elements() == 0) return;
  const Shared<Real> shared(in, plan);
  const auto run = [&](int stages) {
    parallel_simd(plan.pieces(), 1, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
      for (Index index = begin; index < end; ++index) {
        if (plan.piece(index).width == tile) {
          forward_piece<true>(in, plan, shared, stages, index, y);
        } else {
          forward_piece<false>(in, plan, shared, stages, index, y);
        }
      }
    });
  };
  if (plan.chunks == 1) return run(weigh_tokens | finish);
  run(weigh_tokens);
  join_chunks(in, plan, shared.sums);
  run(finish);
}

template <class Real>
void bi_wkv_backward(const BiWkvInputs<Real>& in, const BiWkvGradients<Real>& gradients) {
  const Index channels = in.size.channels;
  const Plan plan(in.size);
  std::fill(gradients.grad_decay, gradients.grad_decay + channels, Real(0));
  std::fill(gradients.grad_first, gradients.grad_first + channels, Real(0));
  if (in.size.elements() == 0) return;
  const Shared<Real> shared(in, plan);
  const auto run = [&](int stages) {
    parallel_simd(plan.pieces(), 1, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
      for (Index index = begin; index < end; ++index) {
        if (plan.piece(index).width == tile) {
          backward_piece<true>(in, plan, shared, stages, index, gradients);
        } else {
          backward_piece<false>(in, plan, shared, stages, index, gradients);
        }
      }
    });
  };
  if (plan.chunks == 1) {
    run(weigh_tokens | finish);
  } else {
    run(weigh_tokens);
    join_chunks(in, plan, shared.sums);
    run(sum_gradients);
    join_chunks(in, plan, shared.gradient_sums);
    run(finish);
  }
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
