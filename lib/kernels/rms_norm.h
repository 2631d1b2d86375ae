// Division by the root mean square (Zhang, Sennrich, arXiv:1910.07467) of rows, every group of neighbouring channels on
// its own. Dividing by the Euclidean norm is the same up to a factor.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// y = factor x rstd weight, rstd = 1 / sqrt(mean(x²) + epsilon) over the `channels / groups` channels of the element's
/// group in its row. `groups` divides the channels. The weight has `weights` elements, a multiple of a group's channels
/// and a divisor of all channels: it begins anew after that many.
template <class Real>
struct RmsNormForward {
  RowsSize size;
  Index groups;
  double epsilon, factor;
  const Real* x;       ///< [rows, channels]
  const Real* weight;  ///< [weights]; or null for 1
  Index weights;
  Real* y;     ///< out [rows, channels]
  Real* rstd;  ///< out [rows, groups], for the backward pass
};
template <class Real>
void rms_norm_forward(const RmsNormForward<Real>& call);

/// With n = x rstd and g = factor grad_y weight, the mean over the group:
///   grad_x = rstd (g - n mean(g n));  grad_weight = sum of factor grad_y n over all rows and repetitions
template <class Real>
struct RmsNormBackward {
  RowsSize size;
  Index groups;
  double factor;
  const Real* x;
  const Real* weight;  ///< or null
  Index weights;
  const Real* rstd;
  const Real* grad_y;  ///< [rows, channels]
  Real* grad_x;        ///< out [rows, channels]; in place of grad_y if wished
  Real* grad_weight;   ///< out [weights]; null without a weight
};
template <class Real>
void rms_norm_backward(const RmsNormBackward<Real>& call);

}  // namespace rwkvlab::kernels
