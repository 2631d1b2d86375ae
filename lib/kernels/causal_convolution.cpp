#include "kernels/causal_convolution.h"

#include <algorithm>

#include "kernels/scratch.h"
#include "kernels/simd.h"

namespace rwkvlab::kernels {
namespace {

/// Rows of [state, sequence]: token t of batch entry b, where t >= -(taps - 1); null where that is zeros.
template <class Real>
RWKVLAB_INLINE Real* row_of(const SequenceSize& size, Index taps, Real* sequence, Real* state, Index b, Index t) {
  if (t >= 0) return sequence + (b * size.time + t) * size.channels;
  return state == nullptr ? nullptr : state + (b * (taps - 1) + t + taps - 1) * size.channels;
}

/// to[i][c] = weight[c][i]: the loops go over channels.
template <class Real>
void transpose(const Real* weight, Index channels, Index taps, Real* to) {
  for (Index c = 0; c < channels; ++c) {
    for (Index i = 0; i < taps; ++i) to[i * channels + c] = weight[c * taps + i];
  }
}

template <class Real>
RWKVLAB_INLINE void add_product(const Real* a, const Real* b, Index count, Real* sum) {
#pragma omp simd
  for (Index c = 0; c < count; ++c) sum[c] += a[c] * b[c];
}
template <class Real>
RWKVLAB_INLINE void add(const Real* a, Index count, Real* sum) {
#pragma omp simd
  for (Index c = 0; c < count; ++c) sum[c] += a[c];
}

/// Copies a row, or zeros.
template <class Real>
RWKVLAB_INLINE void copy_row(const Real* from, Index count, Real* to) {
  for (Index c = 0; c < count; ++c) to[c] = from != nullptr ? from[c] : Real(0);
}

/// The gradient of one input, of the sequence or of the state.
template <class Real>
RWKVLAB_INLINE void input_gradient(const CausalConvolutionBackward<Real>& call, const Real* taps_first, Index b,
                                   Index t, Real* grad) {
  const SequenceSize size = call.size;
  const Index first_kept = size.time - (call.taps - 1);
  const Real* const kept = call.grad_final_state == nullptr || t < first_kept
                               ? nullptr
                               : call.grad_final_state + (b * (call.taps - 1) + t - first_kept) * size.channels;
  copy_row(kept, size.channels, grad);
  for (Index i = 0; i < call.taps; ++i) {
    const Index reader = t + call.taps - 1 - i;
    if (reader < 0 || reader >= size.time) continue;
    add_product(taps_first + i * size.channels, call.grad_y + (b * size.time + reader) * size.channels, size.channels,
                grad);
  }
}

/// Gradients of weight and bias of a piece of tokens, [taps + 1, channels], the bias last.
template <class Real>
RWKVLAB_INLINE void parameter_gradient(const CausalConvolutionBackward<Real>& call, Index begin, Index end,
                                       Real* sums) {
  const SequenceSize size = call.size;
  for (Index c = 0; c < (call.taps + 1) * size.channels; ++c) sums[c] = 0;
  for (Index row = begin; row < end; ++row) {
    const Index b = row / size.time, t = row % size.time;
    const Real* const g = call.grad_y + row * size.channels;
    for (Index i = 0; i < call.taps; ++i) {
      const Real* const x = row_of(size, call.taps, call.x, call.state, b, t - call.taps + 1 + i);
      if (x != nullptr) add_product(g, x, size.channels, sums + i * size.channels);
    }
    add(g, size.channels, sums + call.taps * size.channels);
  }
}

}  // namespace

template <class Real>
void causal_convolution_forward(const CausalConvolutionForward<Real>& call) {
  const SequenceSize size = call.size;
  const Index taps = call.taps, channels = size.channels;
  Real* const weight = scratch<Real>(Scratch::partials, taps * channels);
  transpose(call.weight, channels, taps, weight);
  parallel_simd(size.rows(), row_grain(channels), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      Real* const y = call.y + row * channels;
      copy_row(call.bias, channels, y);
      for (Index i = 0; i < taps; ++i) {
        const Real* const x = row_of(size, taps, call.x, call.state, row / size.time, row % size.time - taps + 1 + i);
        if (x != nullptr) add_product(weight + i * channels, x, channels, y);
      }
    }
  });
  if (call.final_state == nullptr) return;
  for (Index b = 0; b < size.batch; ++b) {
    for (Index j = 0; j < taps - 1; ++j) {
      copy_row(row_of(size, taps, call.x, call.state, b, size.time - taps + 1 + j), channels,
               call.final_state + (b * (taps - 1) + j) * channels);
    }
  }
}

template <class Real>
void causal_convolution_backward(const CausalConvolutionBackward<Real>& call) {
  const SequenceSize size = call.size;
  const Index taps = call.taps, channels = size.channels, length = (taps + 1) * channels;
  const Index grain = summing_grain(size.rows(), 16), pieces = piece_count(size.rows(), grain);
  Real* const partials = scratch<Real>(Scratch::partials, pieces * length + taps * channels);
  Real* const weight = partials + pieces * length;
  transpose(call.weight, channels, taps, weight);
  const Index inputs = size.time + taps - 1;  // of a batch entry, with those of the state
  parallel_simd(size.batch * inputs, row_grain(channels), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index input = begin; input < end; ++input) {
      const Index b = input / inputs, t = input % inputs - (taps - 1);
      Real* const grad = row_of(size, taps, call.grad_x, call.grad_state, b, t);
      if (grad != nullptr) input_gradient(call, weight, b, t, grad);
    }
  });
  parallel_simd(size.rows(), grain, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    parameter_gradient(call, begin, end, partials + begin / grain * length);
  });
  for (Index c = 0; c < channels; ++c) {
    for (Index i = 0; i <= taps; ++i) {
      Real sum = 0;
      for (Index piece = 0; piece < pieces; ++piece) sum += partials[piece * length + i * channels + c];
      if (i < taps) call.grad_weight[c * taps + i] = sum;
      if (i == taps && call.grad_bias != nullptr) call.grad_bias[c] = sum;
    }
  }
}

template void causal_convolution_forward<float>(const CausalConvolutionForward<float>&);
template void causal_convolution_forward<double>(const CausalConvolutionForward<double>&);
template void causal_convolution_backward<float>(const CausalConvolutionBackward<float>&);
template void causal_convolution_backward<double>(const CausalConvolutionBackward<double>&);

}  // namespace rwkvlab::kernels
