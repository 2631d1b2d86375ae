#include "kernels/rms_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/scratch.h"
#include "kernels/simd.h"

namespace rwkvlab::kernels {
namespace {

constexpr int lanes = 16;

/// One group of one row; returns rstd.
template <class Real>
RWKVLAB_INLINE Real normalise_group(const Real* x, const Real* weight, Real epsilon, Real factor, Index width,
                                    Real* y) {
  const Real squares = lane_sum<Real, lanes>(0, width, [=](Index c) RWKVLAB_INLINE_LAMBDA { return x[c] * x[c]; });
  const Real rstd = 1 / std::sqrt(squares / static_cast<Real>(width) + epsilon), scale = factor * rstd;
#pragma omp simd
  for (Index c = 0; c < width; ++c) y[c] = x[c] * scale;
  if (weight != nullptr) {
#pragma omp simd
    for (Index c = 0; c < width; ++c) y[c] *= weight[c];
  }
  return rstd;
}

/// The gradient of one group of one row; that of the weight is added to dweight.
template <bool weighted, class Real>
RWKVLAB_INLINE void group_gradient(const Real* x, const Real* weight, const Real* grad_y, Real rstd, Real factor,
                                   Index width, Real* grad_x, Real* dweight) {
  const auto g = [=](Index c) RWKVLAB_INLINE_LAMBDA { return factor * grad_y[c] * (weighted ? weight[c] : Real(1)); };
  if (weighted) {  // Before grad_x, which may overwrite grad_y.
#pragma omp simd
    for (Index c = 0; c < width; ++c) dweight[c] += factor * grad_y[c] * (x[c] * rstd);
  }
  const Real along =
      lane_sum<Real, lanes>(0, width, [=](Index c) RWKVLAB_INLINE_LAMBDA { return g(c) * (x[c] * rstd); }) /
      static_cast<Real>(width);
#pragma omp simd
  for (Index c = 0; c < width; ++c) grad_x[c] = rstd * (g(c) - x[c] * rstd * along);
}

template <bool weighted, class Real>
void backward(const RmsNormBackward<Real>& call) {
  const Index channels = call.size.channels, groups = call.groups, width = channels / groups;
  const Index grain = summing_grain(call.size.rows, 16), weights = weighted ? call.weights : 0;
  const Index pieces = piece_count(call.size.rows, grain);
  const Real factor = static_cast<Real>(call.factor);
  Real* const partials = weighted ? scratch<Real>(Scratch::partials, pieces * weights) : nullptr;
  parallel_simd(call.size.rows, grain, [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    Real* const dweight = weighted ? partials + begin / grain * weights : nullptr;
    for (Index c = 0; c < weights; ++c) dweight[c] = 0;
    for (Index row = begin; row < end; ++row) {
      for (Index group = 0; group < groups; ++group) {
        const Index at = group * width, element = row * channels + at, shared = weighted ? at % weights : 0;
        group_gradient<weighted>(call.x + element, weighted ? call.weight + shared : nullptr, call.grad_y + element,
                                 call.rstd[row * groups + group], factor, width, call.grad_x + element,
                                 weighted ? dweight + shared : nullptr);
      }
    }
  });
  if (!weighted) return;
  std::fill(call.grad_weight, call.grad_weight + weights, Real(0));
  for (Index piece = 0; piece < pieces; ++piece) {
    for (Index c = 0; c < weights; ++c) call.grad_weight[c] += partials[piece * weights + c];
  }
}

}  // namespace

template <class Real>
void rms_norm_forward(const RmsNormForward<Real>& call) {
  const Index channels = call.size.channels, groups = call.groups, width = channels / groups;
  const Real epsilon = static_cast<Real>(call.epsilon), factor = static_cast<Real>(call.factor);
  parallel_simd(call.size.rows, row_grain(channels), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index row = begin; row < end; ++row) {
      for (Index group = 0; group < groups; ++group) {
        const Index at = group * width, element = row * channels + at;
        const Real* const weight = call.weight == nullptr ? nullptr : call.weight + at % call.weights;
        call.rstd[row * groups + group] =
            normalise_group(call.x + element, weight, epsilon, factor, width, call.y + element);
      }
    }
  });
}

template <class Real>
void rms_norm_backward(const RmsNormBackward<Real>& call) {
  if (call.weight != nullptr) {
    backward<true>(call);
  } else {
    backward<false>(call);
  }
}

template void rms_norm_forward<float>(const RmsNormForward<float>&);
template void rms_norm_forward<double>(const RmsNormForward<double>&);
template void rms_norm_backward<float>(const RmsNormBackward<float>&);
template void rms_norm_backward<double>(const RmsNormBackward<double>&);

}  // namespace rwkvlab::kernels
