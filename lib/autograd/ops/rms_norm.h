// Division by the root mean square or by the Euclidean norm, head by head.
#pragma once

#include "autograd/var.h"

namespace rwkvlab {

/// y = x / sqrt(mean(x²) + epsilon) ⊙ weight, the mean over each of `groups` equal parts of the last dimension
/// (arXiv:1910.07467). x: [..., channels]; weight: [channels], or that of one or several groups for all of them to
/// share; `groups` must divide the channels.
Var rms_norm(const Var& x, const Var& weight, std::int64_t groups, double epsilon);

/// y = factor x / sqrt(Σ x² + epsilon), the sum over each of `groups` equal parts of the last dimension.
Var l2_norm(const Var& x, std::int64_t groups, double epsilon, double factor = 1);

}  // namespace rwkvlab
