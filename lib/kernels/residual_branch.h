// What is added to a residual stream: a branch, scaled per channel and per sample.
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// out[b, t, c] = x[b, t, c] + sample[b] channel[c] branch[b, t, c]. channel: [channels] or null; sample: [batch] or
/// null. In place of x or branch if wished.
template <class Real>
void add_branch(const SequenceSize& size, const Real* x, const Real* branch, const Real* channel, const Real* sample,
                Real* out);
/// out[b, t, c] = sample[b] x[b, t, c]. In place if wished.
template <class Real>
void scale_samples(const SequenceSize& size, const Real* x, const Real* sample, Real* out);
/// out[b, c] = factor Σ_t x[b, t, c]
template <class Real>
void sum_tokens(const SequenceSize& size, double factor, const Real* x, Real* out);
/// out[b, t, c] = factor x[b, c]: the gradient of sum_tokens.
template <class Real>
void spread_tokens(const SequenceSize& size, double factor, const Real* x, Real* out);

}  // namespace rwkvlab::kernels
