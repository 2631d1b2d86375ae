#include "kernels/token_shift.h"

#include <algorithm>

#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/token_mixing.h"

namespace rwkvlab::kernels {
namespace {

/// Calls use(std::integral_constant<int, count>()), so that loops over the blends unroll.
template <class Use>
void with_count(Index count, const Use& use) {
  switch (count) {
    case 1:
      return use(std::integral_constant<int, 1>());
    case 2:
      return use(std::integral_constant<int, 2>());
    case 3:
      return use(std::integral_constant<int, 3>());
    case 4:
      return use(std::integral_constant<int, 4>());
    case 5:
      return use(std::integral_constant<int, 5>());
    case 6:
      return use(std::integral_constant<int, 6>());
    default:
      return;
  }
}

template <int count, class Real>
RWKVLAB_INLINE void mix_row(const Mixing<Real>& mixing, Index row) {
  const Index start = row * mixing.size.channels, t = row % mixing.size.time;
  const Real* x = mixing.x + start;
  const Inputs<Real> mix = mixing.mix;
  const Outputs<Real> out = mixing.out;
  for (Index g = 0; g < mixing.pairs.count; ++g) {
    const TokenShift::Group group = mixing.pairs.groups[g];
    const Real* partner = mixing.partner(group, row, t);
#pragma omp simd
    for (Index c = group.begin; c < group.end; ++c) {
      const Real now = x[c], other = partner[c];
#pragma GCC unroll 6
      for (int j = 0; j < count; ++j) out[j][start + c] = now * mix[j][c] + other * (1 - mix[j][c]);
    }
  }
}

/// Adds grad_j (x - shifted x) of one row to partial [count, channels].
template <int count, class Real>
RWKVLAB_INLINE void add_mix_gradient(const Mixing<Real>& mixing, Index row, Real* partial) {
  const Index channels = mixing.size.channels, start = row * channels, t = row % mixing.size.time;
  const Real* x = mixing.x + start;
  const Inputs<Real> grad = mixing.grad;
  for (Index g = 0; g < mixing.pairs.count; ++g) {
    const TokenShift::Group group = mixing.pairs.groups[g];
    const Real* partner = mixing.partner(group, row, t);
#pragma omp simd
    for (Index c = group.begin; c < group.end; ++c) {
      const Real difference = x[c] - partner[c];
#pragma GCC unroll 6
      for (int j = 0; j < count; ++j) partial[j * channels + c] += grad[j][start + c] * difference;
    }
  }
}

/// How many rows ahead of its turn a row is asked for: a token shift reads too many places for the processor to guess.
/// 0 where neighbours are near, or so far that the rows between would leave the cache.
template <class Real>
Index rows_ahead(const TokenPairs& pairs, Index channels, Index arrays) {
  constexpr Index margin = 6, most_bytes = 1 << 19;
  const Index ahead = pairs.reach + margin;
  const Index bytes = ahead * channels * arrays * static_cast<Index>(sizeof(Real));
  return pairs.reach > 1 && bytes <= most_bytes ? ahead : 0;
}

/// Asks for x and the gradients of a row; harmless beyond the end.
template <int count, class Real>
RWKVLAB_INLINE void prefetch_row(const Mixing<Real>& mixing, Index row) {
  constexpr Index line = 64 / sizeof(Real);
  const Index start = row * mixing.size.channels;
  for (Index c = 0; c < mixing.size.channels; c += line) {
    __builtin_prefetch(mixing.x + start + c);
#pragma GCC unroll 6
    for (int j = 0; j < count; ++j) __builtin_prefetch(mixing.grad[j] + start + c);
  }
}

/// grad_x of one row, from its own blends and those of the row that reads it.
template <int count, class Real>
RWKVLAB_INLINE void add_input_gradient(const Mixing<Real>& mixing, Index row) {
  const Index channels = mixing.size.channels, start = row * channels, t = row % mixing.size.time;
  const Inputs<Real> mix = mixing.mix;
  Real* grad_x = mixing.grad_x + start;
  for (Index g = 0; g < mixing.pairs.count; ++g) {
    const TokenShift::Group group = mixing.pairs.groups[g];
    const Index reader = mixing.pairs.reader(group, row, t);
    Inputs<Real> own{}, next{};
#pragma GCC unroll 6
    for (int j = 0; j < count; ++j) {
      own[j] = mixing.grad[j] + start;
      next[j] = reader < 0 ? mixing.zeros : mixing.grad[j] + reader * channels;
    }
#pragma omp simd
    for (Index c = group.begin; c < group.end; ++c) {
      Real total = 0;
#pragma GCC unroll 6
      for (int j = 0; j < count; ++j) total += own[j][c] * mix[j][c] + next[j][c] * (1 - mix[j][c]);
      grad_x[c] = total;
    }
  }
}

}  // namespace

template <class Real>
void token_shift_forward(const SequenceSize& size, const Real* x, const Real* previous, Real* shifted,
                         const TokenShift* shift) {
  const Index channels = size.channels;
  const PairsOf pairs_of(size, shift);
  parallel_for(size.rows(), row_grain(channels), [=, pairs = *pairs_of](Index begin, Index end) {
    for (Index row = begin; row < end; ++row) {
      Real* to = shifted + row * channels;
      for (Index g = 0; g < pairs.count; ++g) {
        const TokenShift::Group group = pairs.groups[g];
        const Index source = pairs.source(group, row, row % size.time), width = group.end - group.begin;
        if (source >= 0) {
          std::copy_n(x + source * channels + group.begin, width, to + group.begin);
        } else if (previous != nullptr) {
          std::copy_n(previous + row / size.time * channels, channels, to);
        } else {
          std::fill_n(to + group.begin, width, Real(0));
        }
      }
    }
  });
}

template <class Real>
void token_shift_backward(const SequenceSize& size, const Real* grad_shifted, Real* grad_x, Real* grad_previous,
                          const TokenShift* shift) {
  const Index channels = size.channels;
  const PairsOf pairs_of(size, shift);
  parallel_for(size.rows(), row_grain(channels), [=, pairs = *pairs_of](Index begin, Index end) {
    for (Index row = begin; row < end; ++row) {
      const Index t = row % size.time;
      if (t == 0 && grad_previous != nullptr) {
        std::copy_n(grad_shifted + row * channels, channels, grad_previous + row / size.time * channels);
      }
      Real* to = grad_x + row * channels;
      for (Index g = 0; g < pairs.count; ++g) {
        const TokenShift::Group group = pairs.groups[g];
        const Index reader = pairs.reader(group, row, t), width = group.end - group.begin;
        if (reader >= 0) {
          std::copy_n(grad_shifted + reader * channels + group.begin, width, to + group.begin);
        } else {
          std::fill_n(to + group.begin, width, Real(0));
        }
      }
    }
  });
}

template <class Real>
void token_mix_forward(const SequenceSize& size, const Real* x, const Real* previous,
                       std::span<const Real* const> mixes, std::span<Real* const> outputs, const TokenShift* shift) {
  const PairsOf pairs_of(size, shift);
  Mixing<Real> mixing(size, *pairs_of, x, previous, scratch<Real>(Scratch::partials, size.channels));
  std::copy(mixes.begin(), mixes.end(), mixing.mix.begin());
  std::copy(outputs.begin(), outputs.end(), mixing.out.begin());
  with_count(static_cast<Index>(mixes.size()), [&](auto count) {
    parallel_simd(size.rows(), row_grain(size.channels), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
      for (Index row = begin; row < end; ++row) mix_row<count.value>(mixing, row);
    });
  });
}

template <class Real>
void token_mix_backward(const SequenceSize& size, const Real* x, const Real* previous,
                        std::span<const Real* const> mixes, std::span<const Real* const> grad_outputs, Real* grad_x,
                        Real* grad_previous, std::span<Real* const> grad_mixes, const TokenShift* shift) {
  const Index channels = size.channels, rows = size.rows();
  const Index grain = summing_grain(rows, 16);
  const Index pieces = piece_count(rows, grain);
  const PairsOf pairs_of(size, shift);
  const Index most = static_cast<Index>(mixes.size());
  Real* const zeros = scratch<Real>(Scratch::partials, channels + pieces * most * channels);
  Real* const partials = zeros + channels;
  Mixing<Real> mixing(size, *pairs_of, x, previous, zeros);
  Outputs<Real> grad_mix{};
  Index active = 0;
  for (std::size_t j = 0; j < mixes.size(); ++j) {
    std::fill_n(grad_mixes[j], channels, Real(0));
    if (grad_outputs[j] == nullptr) continue;
    mixing.mix[active] = mixes[j];
    mixing.grad[active] = grad_outputs[j];
    grad_mix[active++] = grad_mixes[j];
  }
  mixing.grad_x = grad_x;
  if (active == 0 && grad_x != nullptr) std::fill_n(grad_x, size.elements(), Real(0));
  const Index ahead = rows_ahead<Real>(mixing.pairs, channels, active + 1);
  with_count(active, [&](auto count) {
    parallel_simd(rows, grain, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
      constexpr int blends = count.value;
      Real* partial = partials + begin / grain * blends * channels;
      for (Index i = 0; i < blends * channels; ++i) partial[i] = 0;
      for (Index row = begin; row < end; ++row) {
        if (ahead > 0) prefetch_row<blends>(mixing, row + ahead);
        add_mix_gradient<blends>(mixing, row, partial);
        if (mixing.grad_x != nullptr) add_input_gradient<blends>(mixing, row);
      }
    });
  });
  for (Index piece = 0; piece < pieces; ++piece) {
    for (Index j = 0; j < active; ++j) {
      const Real* partial = partials + (piece * active + j) * channels;
      for (Index c = 0; c < channels; ++c) grad_mix[j][c] += partial[c];
    }
  }
  if (grad_previous == nullptr) return;
  for (Index b = 0; b < size.batch; ++b) {
    for (Index c = 0; c < channels; ++c) {
      Real total = 0;
      for (Index j = 0; j < active; ++j) {
        total += mixing.grad[j][b * size.time * channels + c] * (1 - mixing.mix[j][c]);
      }
      grad_previous[b * channels + c] = total;
    }
  }
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Real)                                                                                     \
  template void token_shift_forward<Real>(const SequenceSize&, const Real*, const Real*, Real*, const TokenShift*);   \
  template void token_shift_backward<Real>(const SequenceSize&, const Real*, Real*, Real*, const TokenShift*);        \
  template void token_mix_forward<Real>(const SequenceSize&, const Real*, const Real*, std::span<const Real* const>,  \
                                        std::span<Real* const>, const TokenShift*);                                   \
  template void token_mix_backward<Real>(const SequenceSize&, const Real*, const Real*, std::span<const Real* const>, \
                                         std::span<const Real* const>, Real*, Real*, std::span<Real* const>,          \
                                         const TokenShift*);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)

}  // namespace rwkvlab::kernels
