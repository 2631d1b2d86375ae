// Losses of images.
#pragma once

#include <cstdint>

#include "autograd/var.h"

namespace rwkvlab {

struct RowLoss {
  Var loss;                  ///< scalar: mean over the counted rows
  Tensor row_losses;         ///< of every row; 0 where it is not counted
  std::int64_t counted = 0;  ///< rows
};

/// Cross-entropy with soft targets q: the mean over rows of Σ_c q_c (log Σ_k e^{z_k} - z_c). logits z: [..., classes];
/// targets: a constant of as many elements. Rows whose targets are all 0 are not counted.
RowLoss soft_cross_entropy(const Var& logits, const Tensor& targets);

/// The soft targets of labels: (1 - smoothing) onehot(label) + smoothing / classes (arXiv:1512.00567), zeros for a
/// label of -1. labels: int64 of any shape; `soft`, where it is defined, stands for onehot(label): [labels, classes].
/// Result [labels, classes] of `type`. Throws DataError for labels outside the classes.
Tensor smoothed_targets(const Tensor& labels, const Tensor& soft, std::int64_t classes, double smoothing, DType type);

/// Mean squared error per row, averaged over the rows that `mask` marks. prediction, target: [batch, rows, channels];
/// mask: a constant [batch, rows] of 0 and 1.
RowLoss masked_squared_error(const Var& prediction, const Var& target, const Tensor& mask);

}  // namespace rwkvlab
