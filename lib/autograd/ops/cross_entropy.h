// The language-model loss.
#pragma once

#include <memory>

#include "autograd/var.h"
#include "kernels/cross_entropy.h"

namespace rwkvlab {

struct CrossEntropyLoss {
  Var loss;                  ///< scalar: mean loss in nats over the counted rows
  Tensor row_losses;         ///< [batch, time], nats; 0 where the target is ignored
  std::int64_t counted = 0;  ///< rows whose target is not kernels::ignored_target
};

/// Mean of -log softmax(logits)[target]. logits: [batch, time, vocabulary]; targets: int64 [batch, time], where
/// kernels::ignored_target takes no part. `l2wrap` > 0 adds the term of RWKV's trainer to the gradient (not to the
/// value): at the largest logit of each row, max_logit · l2wrap / rows, independent of the incoming gradient. Throws
/// DataError for a target outside the vocabulary.
CrossEntropyLoss cross_entropy(const Var& logits, const Tensor& targets, double l2wrap = 0);

/// Throws DataError for a target outside the vocabulary that is not kernels::ignored_target.
void check_targets(const Tensor& targets, std::int64_t vocabulary);

}  // namespace rwkvlab
