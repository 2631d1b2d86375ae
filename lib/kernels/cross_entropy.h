// Softmax cross-entropy of rows of logits, with the L2Wrap term of RWKV's training code.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// A target that takes no part in the loss.
inline constexpr std::int64_t ignored_target = -1;

/// What cross_entropy_forward returns.
struct CrossEntropyResult {
  double mean = 0;    ///< mean loss in nats over the counted rows; 0 when there are none
  Index counted = 0;  ///< rows whose target is not ignored_target
};

/// row_loss = log(sum_c e^logits_c) - logits_target per row, in the stable form with the row's maximum; 0 for ignored
/// rows. size.channels is the number of classes. logits: [rows, classes]; targets: [rows], each in [0, classes) or
/// ignored_target; row_losses, log_normaliser: out [rows]. The mean is summed in float64 in index order.
template <class Real>
CrossEntropyResult cross_entropy_forward(const RowsSize& size, const Real* logits, const std::int64_t* targets,
                                         Real* row_losses, Real* log_normaliser);

/// The mean of row_losses over the rows whose target counts, summed in float64 in index order.
template <class Real>
CrossEntropyResult cross_entropy_mean(Index rows, const std::int64_t* targets, const Real* row_losses);

/// grad_logits = factor (softmax(logits) - onehot(target)) per counted row, 0 for ignored rows; factor = the incoming
/// gradient of the mean / counted. L2Wrap then adds max_logit * l2wrap_factor / rows at the first largest logit of
/// every row (ignored ones too), not multiplied by the incoming gradient; 0 leaves it out. logits, targets and
/// log_normaliser as in the forward pass. In place of the logits if wished.
template <class Real>
void cross_entropy_backward(const RowsSize& size, const Real* logits, const std::int64_t* targets,
                            const Real* log_normaliser, double factor, double l2wrap_factor, Real* grad_logits);

/// Both at once while a row is in the cache, for some rows of many: row_losses as in the forward pass, and the logits
/// are overwritten by the gradient, where L2Wrap adds max_logit * wrap (l2wrap_factor / all rows).
template <class Real>
void cross_entropy_in_place(const RowsSize& size, const std::int64_t* targets, double factor, double wrap, Real* logits,
                            Real* row_losses);

}  // namespace rwkvlab::kernels
