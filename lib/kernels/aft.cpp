#include "kernels/aft.h"

#include <algorithm>

#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/vector_math.h"

namespace rwkvlab::kernels {
namespace {

/// Channels whose sums are kept in registers and the first-level cache.
constexpr Index tile = 64;

/// One query and up to `tile` channels from `channel` on.
template <class Real>
RWKVLAB_INLINE void forward_tile(const AftForward<Real>& call, Index row, Index channel) {
  const AftSize& size = call.size;
  const Index entry = row / size.queries, time = size.keys - size.queries + row % size.queries;
  const Index width = std::min(tile, size.channels - channel), apart = size.channels;
  const Real* bias = call.bias + time * size.length;
  const Real* key = call.key + entry * size.keys * apart + channel;
  const Real* value = call.value + entry * size.keys * apart + channel;
  Real largest[tile], weights[tile], sums[tile];
  for (Index c = 0; c < width; ++c) {
    largest[c] = key[time * apart + c] + bias[time];
    weights[c] = sums[c] = 0;
  }
  for (Index i = 0; i < time; ++i) {
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Real exponent = key[i * apart + c] + bias[i];
      largest[c] = exponent > largest[c] ? exponent : largest[c];
    }
  }
  for (Index i = 0; i <= time; ++i) {
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Real weight = vector_exp_nonpositive(key[i * apart + c] + bias[i] - largest[c]);
      weights[c] += weight;
      sums[c] += weight * value[i * apart + c];
    }
  }
#pragma omp simd
  for (Index c = 0; c < width; ++c) {
    call.y[row * apart + channel + c] = sums[c] / weights[c];
    call.log_sum[row * apart + channel + c] = largest[c] + vector_log(weights[c]);
  }
}

/// Adds the gradients of one query of one entry; `grad_bias`: [queries, keys] of the piece.
template <class Real>
RWKVLAB_INLINE void backward_tile(const AftBackward<Real>& call, Index row, Index channel, Real* grad_bias) {
  const AftSize& size = call.size;
  const Index entry = row / size.queries, query = row % size.queries, time = size.keys - size.queries + query;
  const Index width = std::min(tile, size.channels - channel), apart = size.channels;
  const Real* bias = call.bias + time * size.length;
  const Index first = entry * size.keys * apart + channel, own = row * apart + channel;
  const Real *key = call.key + first, *value = call.value + first;
  const Real *y = call.y + own, *log_sum = call.log_sum + own, *dy = call.grad_y + own;
  Real *dkey = call.grad_key + first, *dvalue = call.grad_value + first;
  Real terms[tile];
  for (Index i = 0; i <= time; ++i) {
#pragma omp simd
    for (Index c = 0; c < width; ++c) {
      const Real share = vector_exp(key[i * apart + c] + bias[i] - log_sum[c]) * dy[c];
      terms[c] = share * (value[i * apart + c] - y[c]);
      dkey[i * apart + c] += terms[c];
      dvalue[i * apart + c] += share;
    }
    grad_bias[query * size.keys + i] +=
        lane_sum<Real, 16>(0, width, [&](Index c) RWKVLAB_INLINE_LAMBDA { return terms[c]; });
  }
}

}  // namespace

template <class Real>
void aft_forward(const AftForward<Real>& call) {
  const Index grain = row_grain(call.size.channels * call.size.keys);
  parallel_simd(call.size.batch * call.size.queries, grain, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      for (Index channel = 0; channel < call.size.channels; channel += tile) forward_tile(call, row, channel);
    }
  });
}

// A piece is some entries of the batch with a bias gradient of its own; at most eight, because each is [queries, keys].
template <class Real>
void aft_backward(const AftBackward<Real>& call) {
  const AftSize& size = call.size;
  const Index grain = piece_count(size.batch, 8), pieces = piece_count(size.batch, grain);
  const Index area = size.queries * size.keys, tokens = size.batch * size.keys * size.channels;
  Real* partials = scratch<Real>(Scratch::partials, pieces * area);
  std::fill_n(partials, pieces * area, Real(0));
  std::fill_n(call.grad_key, tokens, Real(0));
  std::fill_n(call.grad_value, tokens, Real(0));
  parallel_simd(size.batch, grain, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin * call.size.queries; row < end * call.size.queries; ++row) {
      for (Index channel = 0; channel < call.size.channels; channel += tile) {
        backward_tile(call, row, channel, partials + begin / grain * area);
      }
    }
  });
  std::fill_n(call.grad_bias, size.length * size.length, Real(0));
  const Index before = size.keys - size.queries;
  parallel_for(size.queries, row_grain(pieces * size.keys), [&](Index begin, Index end) {
    for (Index query = begin; query < end; ++query) {
      Real* to = call.grad_bias + (before + query) * size.length;
      for (Index piece = 0; piece < pieces; ++piece) {
        const Real* from = partials + piece * area + query * size.keys;
        for (Index i = 0; i <= before + query; ++i) to[i] += from[i];
      }
    }
  });
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Real)                           \
  template void aft_forward<Real>(const AftForward<Real>&); \
  template void aft_backward<Real>(const AftBackward<Real>&);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)

}  // namespace rwkvlab::kernels
