#include "kernels/token_lerp.h"

#include <algorithm>

#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/token_pairs.h"

namespace rwkvlab::kernels {
namespace {

/// What `row` (= batch * time + t) is mixed with in a group of channels; null for zeros.
template <class Real>
RWKVLAB_INLINE const Real* partner(const TokenLerp<Real>& call, const TokenPairs& pairs, const TokenShift::Group& group,
                                   Index row) {
  const Index channels = call.size.channels, source = pairs.source(group, row, row % call.size.time);
  if (source >= 0) return call.x + source * channels;
  return call.previous == nullptr ? nullptr : call.previous + row / call.size.time * channels;
}

/// The corrections of output j at `row`.
template <class Real>
RWKVLAB_INLINE const Real* correction_of(const TokenLerp<Real>& call, Index j, Index row) {
  return call.correction + (j * call.size.rows() + row) * call.size.channels;
}

/// Calls body(j, gradient of output j at row, weights, corrections) for the outputs that have a gradient.
template <class Real, class Body>
RWKVLAB_INLINE void each_gradient(const TokenLerpBackward<Real>& call, Index row, const Body& body) {
  for (Index j = 0; j < call.in.outputs; ++j) {
    if (call.grad_outputs[j] == nullptr) continue;
    body(j, call.grad_outputs[j] + row * call.in.size.channels, call.in.weights[j], correction_of(call.in, j, row));
  }
}

/// A range of channels.
struct Channels {
  Index begin, end;
};

/// to += gradients of `row` with respect to its partner (`shifted`), or to its own token.
template <bool shifted, class Real>
RWKVLAB_INLINE void add_to_token(const TokenLerpBackward<Real>& call, Index row, const Channels& range, Real* to) {
  each_gradient(call, row,
                [=](Index, const Real* grad, const Real* weight, const Real* correction) RWKVLAB_INLINE_LAMBDA {
#pragma omp simd
                  for (Index c = range.begin; c < range.end; ++c) {
                    const Real e = weight[c] + correction[c];
                    to[c] += grad[c] * (shifted ? e : 1 - e);
                  }
                });
}

/// grad_x and grad_previous of `row`; every row writes its own token.
template <class Real>
RWKVLAB_INLINE void row_gradient(const TokenLerpBackward<Real>& call, const TokenPairs& pairs, Index row) {
  const Index channels = call.in.size.channels, time = call.in.size.time;
  if (call.grad_x != nullptr) {
    Real* const grad_x = call.grad_x + row * channels;
    std::fill(grad_x, grad_x + channels, Real(0));
    add_to_token<false>(call, row, {0, channels}, grad_x);
    for (Index g = 0; g < pairs.count; ++g) {
      const TokenShift::Group group = pairs.groups[g];
      const Index reader = pairs.reader(group, row, row % time);
      if (reader >= 0) add_to_token<true>(call, reader, {group.begin, group.end}, grad_x);
    }
  }
  if (call.grad_previous == nullptr || row % time != 0) return;
  Real* const grad_previous = call.grad_previous + row / time * channels;
  std::fill(grad_previous, grad_previous + channels, Real(0));
  add_to_token<true>(call, row, {0, channels}, grad_previous);
}

/// Gradients of the weights and corrections of `row`; sums: [outputs, channels].
template <class Real>
RWKVLAB_INLINE void weight_gradient(const TokenLerpBackward<Real>& call, const TokenPairs& pairs, Index row,
                                    Real* sums) {
  const Index channels = call.in.size.channels, rows = call.in.size.rows();
  const Real* const x = call.in.x + row * channels;
  for (Index g = 0; g < pairs.count; ++g) {
    const TokenShift::Group group = pairs.groups[g];
    const Real* const past = partner(call.in, pairs, group, row);
    each_gradient(call, row, [=](Index j, const Real* grad, const Real*, const Real*) RWKVLAB_INLINE_LAMBDA {
      Real* const sum = sums + j * channels;
      Real* const own = call.grad_correction + (j * rows + row) * channels;
#pragma omp simd
      for (Index c = group.begin; c < group.end; ++c) {
        const Real gradient = grad[c] * ((past == nullptr ? Real(0) : past[c]) - x[c]);
        sum[c] += gradient;
        own[c] = gradient;
      }
    });
  }
}

}  // namespace

template <class Real>
void token_lerp_forward(const TokenLerp<Real>& call, Real* const* outputs) {
  const Index channels = call.size.channels;
  const PairsOf pairs_of(call.size, call.shift);
  parallel_simd(call.size.rows(), row_grain(channels * call.outputs),
                [=, pairs = *pairs_of](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
                  for (Index row = begin; row < end; ++row) {
                    const Real* const x = call.x + row * channels;
                    for (Index g = 0; g < pairs.count; ++g) {
                      const TokenShift::Group group = pairs.groups[g];
                      const Real* const past = partner(call, pairs, group, row);
                      for (Index j = 0; j < call.outputs; ++j) {
                        const Real* const weight = call.weights[j];
                        const Real* const correction = correction_of(call, j, row);
                        Real* const out = outputs[j] + row * channels;
#pragma omp simd
                        for (Index c = group.begin; c < group.end; ++c) {
                          const Real e = weight[c] + correction[c];
                          out[c] = x[c] + ((past == nullptr ? Real(0) : past[c]) - x[c]) * e;
                        }
                      }
                    }
                  }
                });
}

template <class Real>
void token_lerp_backward(const TokenLerpBackward<Real>& call) {
  const Index channels = call.in.size.channels, rows = call.in.size.rows(), outputs = call.in.outputs;
  const Index grain = summing_grain(rows, 16), pieces = piece_count(rows, grain);
  for (Index j = 0; j < outputs; ++j) {
    if (call.grad_outputs[j] != nullptr) continue;
    Real* const unused = call.grad_correction + j * rows * channels;
    std::fill(unused, unused + rows * channels, Real(0));
  }
  Real* const partials = scratch<Real>(Scratch::partials, pieces * outputs * channels);
  const PairsOf pairs_of(call.in.size, call.in.shift);
  parallel_simd(rows, grain, [=, pairs = *pairs_of](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    Real* const sums = partials + begin / grain * outputs * channels;
    std::fill(sums, sums + outputs * channels, Real(0));
    for (Index row = begin; row < end; ++row) {
      weight_gradient(call, pairs, row, sums);
      row_gradient(call, pairs, row);
    }
  });
  for (Index j = 0; j < outputs; ++j) {
    Real* const grad = call.grad_weights[j];
    std::fill(grad, grad + channels, Real(0));
    for (Index piece = 0; piece < pieces; ++piece) {
      for (Index c = 0; c < channels; ++c) grad[c] += partials[(piece * outputs + j) * channels + c];
    }
  }
}

template void token_lerp_forward<float>(const TokenLerp<float>&, float* const*);
template void token_lerp_forward<double>(const TokenLerp<double>&, double* const*);
template void token_lerp_backward<float>(const TokenLerpBackward<float>&);
template void token_lerp_backward<double>(const TokenLerpBackward<double>&);

}  // namespace rwkvlab::kernels
