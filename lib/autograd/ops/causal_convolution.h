// Short causal convolution in time, every channel on its own (arXiv:2312.00752, arXiv:2406.06484).
#pragma once

#include "autograd/var.h"

namespace rwkvlab {

struct CausalConvolutionResult {
  Var y;            ///< [batch, time, channels]
  Var final_state;  ///< the last taps - 1 inputs, [batch, taps - 1, channels], the oldest first; none unless asked for
};

/// y_t[c] = bias[c] + Σ_i weight[c][i] x_{t - taps + 1 + i}[c]. x: [batch, time, channels]; weight: [channels, taps] or
/// [channels, 1, taps], as checkpoints have it; bias: [channels] or none; state: the inputs before the first token,
/// [batch, taps - 1, channels], or none for zeros.
CausalConvolutionResult causal_convolution(const Var& x, const Var& weight, const Var& bias, const Var& state,
                                           bool wants_final_state);

}  // namespace rwkvlab
