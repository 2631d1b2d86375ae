// Losses of images: cross-entropy with soft targets, and the squared error of masked patches.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// row_losses[r] = Σ_c q_rc (log Σ_k e^{z_rk} - z_rc). logits z, targets q: [rows, classes].
template <class Real>
void soft_cross_entropy_forward(const RowsSize& size, const Real* logits, const Real* targets, Real* row_losses);
/// grad_rc = factor (softmax(z)_rc Σ_k q_rk - q_rc). In place of the logits if wished.
template <class Real>
void soft_cross_entropy_backward(const RowsSize& size, const Real* logits, const Real* targets, double factor,
                                 Real* grad_logits);
/// row_losses[r] = mean_c (prediction_rc - target_rc)²
template <class Real>
void squared_error_forward(const RowsSize& size, const Real* prediction, const Real* target, Real* row_losses);
/// grad_rc = row_factors[r] 2 (prediction_rc - target_rc) / channels
template <class Real>
void squared_error_backward(const RowsSize& size, const Real* prediction, const Real* target, const Real* row_factors,
                            Real* grad);

}  // namespace rwkvlab::kernels
