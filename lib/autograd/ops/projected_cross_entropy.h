// The language-model loss together with the projection to the vocabulary, so that the logits never exist as a whole.
#pragma once

#include "autograd/ops/cross_entropy.h"

namespace rwkvlab {

/// cross_entropy(linear(x, weight), targets, l2wrap), some rows at a time. x: [..., channels]; weight: [vocabulary,
/// channels]; targets: int64, one per row of x. When a tape records, the gradients are computed right away, from logits
/// that are then forgotten, for the incoming gradient 1, as a training has it; another one has them computed once more.
/// Products are as in linear(), in bfloat16 too; with at most 2^25 logits (float32: 128 MB) in all the results are bit
/// for bit those of the two operations one after the other. Throws DataError as cross_entropy does.
CrossEntropyLoss projected_cross_entropy(const Var& x, const Var& weight, const Tensor& targets, double l2wrap = 0);

}  // namespace rwkvlab
