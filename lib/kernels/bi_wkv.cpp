#include "kernels/bi_wkv.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
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
using bi_wkv::Start;
using bi_wkv::tile;

/// What the threads share while one call runs: memory of the thread that calls.
template <class Real>
struct Shared {
  Shared(const BiWkvInputs<Real>& in, const Plan& plan) {
    const Index channels = in.size.channels, pieces = plan.pieces();
    const auto size = static_cast<std::size_t>(pieces) * (sizeof(ChunkSums<Real>) + 2 * tile * sizeof(Real) + 1) +
                      2 * static_cast<std::size_t>(channels) * sizeof(Real);
    std::byte* const memory = scratch_bytes(Scratch::partials, size);
    sums = reinterpret_cast<ChunkSums<Real>*>(memory);
    grad_rates = reinterpret_cast<Real*>(sums + pieces);
    Real* const values = grad_rates + pieces * 2 * tile;
    is_plain = reinterpret_cast<std::uint8_t*>(values + 2 * channels);
    // std::exp, because an error of the decay is multiplied by the distance.
    for (Index c = 0; c < channels; ++c) {
      values[c] = std::exp(-in.decay[c]);
      values[channels + c] = std::exp(in.first[c]);
    }
    rates = {values, values + channels};
  }
  ChunkSums<Real>* sums;   ///< [pieces], of keys or of gradients
  Real* grad_rates;        ///< [pieces, 2, tile]
  std::uint8_t* is_plain;  ///< [pieces]: whether plain sums hold the chunk
  bi_wkv::Rates<Real> rates;
};

/// The chunks' starts in a trace, [pieces]; null without one.
template <class Real>
Start<Real>* starts_of(const BiWkvTrace<Real>& trace) {
  return reinterpret_cast<Start<Real>*>(trace.starts);
}

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

/// The steps of a pass: what a chunk's own tokens add up to, and, when the chunks of a unit are joined, its results.
enum class Stage { sum, finish };

/// Whether plain sums hold all chunks of the unit that piece `index` belongs to.
template <class Real>
RWKVLAB_INLINE bool is_plain_unit(const Plan& plan, const Shared<Real>& shared, Index index) {
  bool plain = true;
  const Index first = index - index % plan.chunks;
  for (Index i = 0; i < plan.chunks; ++i) plain = plain && shared.is_plain[first + i] != 0;
  return plain;
}

template <class Real>
struct Forward {
  BiWkvInputs<Real> in;
  Plan plan;
  Shared<Real> shared;
  Real* y;
  BiWkvTrace<Real> trace;
  Start<Real>* starts;

  template <bool full>
  RWKVLAB_INLINE void run(Stage stage, Index index) const {
    const Piece piece = plan.piece(index);
    const bool is_joined = plan.chunks > 1;
    if (stage == Stage::sum) {
      const Real spread = is_joined ? bi_wkv::weigh<full, true>(in, shared.rates, piece, y, shared.sums[index])
                                    : bi_wkv::weigh<full, false>(in, shared.rates, piece, y, shared.sums[index]);
      shared.is_plain[index] = is_plain(in, piece, spread) ? 1 : 0;
      return;
    }
    if (!is_plain_unit(plan, shared, index)) {
      if (starts != nullptr) starts[index].is_plain = false;
      if (index % plan.chunks == 0) bi_wkv::log_forward(in, piece, y);
      return;
    }
    const Start<Real> start(shared.sums[index], is_joined);
    if (starts != nullptr) {
      starts[index] = start;
      bi_wkv::forward_chunk<full, true>(in, shared.rates, piece, start, plan.next(index), y, trace.inverse);
    } else {
      bi_wkv::forward_chunk<full, false>(in, shared.rates, piece, start, plan.next(index), y, trace.inverse);
    }
  }
};

template <class Real>
struct Backward {
  BiWkvInputs<Real> in;
  Plan plan;
  Shared<Real> shared;
  BiWkvGradients<Real> gradients;
  const Real* inverses;
  const Start<Real>* starts;

  template <bool full>
  RWKVLAB_INLINE void run(Stage stage, Index index) const {
    const Piece piece = plan.piece(index);
    const Start<Real>& start = starts[index];
    Real* const grad_rates = shared.grad_rates + index * 2 * tile;
    ChunkSums<Real>& others = shared.sums[index];
    if (!start.is_plain) {
      if (stage == Stage::sum) return;
      std::fill(grad_rates, grad_rates + 2 * tile, Real(0));
      if (index % plan.chunks == 0) bi_wkv::log_backward(in, piece, gradients, grad_rates);
      return;
    }
    if (stage == Stage::sum) {
      // No other chunk wants the sums of the only one.
      if (plan.chunks > 1) bi_wkv::sum_gradients<full>(in, shared.rates, piece, start, inverses, gradients, others);
      return;
    }
    using From = bi_wkv::GradientStart<Real>;
    const From left = plan.chunks > 1 ? From(others.left, start) : From();
    const From right = plan.chunks > 1 ? From(others.right, start) : From();
    bi_wkv::backward_chunk<full>(in, shared.rates, piece, start, inverses, left, right, gradients, plan.next(index),
                                 grad_rates);
  }
};

/// Runs both stages of a pass. A thread that has a unit for itself goes through both while the tokens are in the cache,
/// forth and back; where units are fewer than threads, all share every stage. Both compute the same.
template <class Pass>
void run_stages(const Pass& given) {
  const auto body_of = [pass = given](Stage stage) {
    return [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
      for (Index i = begin; i < end; ++i) {
        const Index index = stage == Stage::sum ? i : begin + end - 1 - i;
        if (pass.plan.piece(index).width == tile) {
          pass.template run<true>(stage, index);
        } else {
          pass.template run<false>(stage, index);
        }
      }
    };
  };
  const Index chunks = given.plan.chunks;
  const auto join = [pass = given](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index unit = begin; unit < end; ++unit) bi_wkv::join(pass.plan, unit, pass.in.decay, pass.shared.sums);
  };
  if (chunks == 1 || given.plan.units() >= threads()) {
    parallel_for(given.plan.units(), 1, [&](Index begin, Index end) {
      for (Index unit = begin; unit < end; ++unit) {
        run_cloned(body_of(Stage::sum), unit * chunks, (unit + 1) * chunks);
        if (chunks > 1) run_cloned(join, unit, unit + 1);
        run_cloned(body_of(Stage::finish), unit * chunks, (unit + 1) * chunks);
      }
    });
    return;
  }
  parallel_simd(given.plan.pieces(), 1, body_of(Stage::sum));
  parallel_simd(given.plan.units(), 1, join);
  parallel_simd(given.plan.pieces(), 1, body_of(Stage::finish));
}

}  // namespace

template <class Real>
std::size_t bi_wkv_start_bytes(const SequenceSize& size) {
  return size.elements() == 0 ? 0 : static_cast<std::size_t>(Plan(size).pieces()) * sizeof(Start<Real>);
}

template <class Real>
void bi_wkv_forward(const BiWkvInputs<Real>& in, Real* y, const BiWkvTrace<Real>& trace) {
  if (in.size.elements() == 0) return;
  const Plan plan(in.size);
  run_stages(Forward<Real>{in, plan, Shared<Real>(in, plan), y, trace, starts_of(trace)});
}

template <class Real>
void bi_wkv_backward(const BiWkvInputs<Real>& in, const BiWkvTrace<Real>& trace,
                     const BiWkvGradients<Real>& gradients) {
  const Index channels = in.size.channels;
  std::fill(gradients.grad_decay, gradients.grad_decay + channels, Real(0));
  std::fill(gradients.grad_first, gradients.grad_first + channels, Real(0));
  if (in.size.elements() == 0) return;
  const Plan plan(in.size);
  const Shared<Real> shared(in, plan);
  run_stages(Backward<Real>{in, plan, shared, gradients, trace.inverse, starts_of(trace)});
  for (Index index = 0; index < plan.pieces(); ++index) {
    const Piece piece = plan.piece(index);
    const Real* const from = shared.grad_rates + index * 2 * tile;
    for (Index c = 0; c < piece.width; ++c) {
      gradients.grad_decay[piece.channel + c] += from[c];
      gradients.grad_first[piece.channel + c] += from[tile + c];
    }
  }
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Real)                                                               \
  template std::size_t bi_wkv_start_bytes<Real>(const SequenceSize&);                           \
  template void bi_wkv_forward<Real>(const BiWkvInputs<Real>&, Real*, const BiWkvTrace<Real>&); \
  template void bi_wkv_backward<Real>(const BiWkvInputs<Real>&, const BiWkvTrace<Real>&, const BiWkvGradients<Real>&);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)

}  // namespace rwkvlab::kernels
