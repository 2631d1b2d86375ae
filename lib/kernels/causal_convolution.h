// Short causal convolution in time, every channel on its own, as Mamba (arXiv:2312.00752, arXiv:2405.21060) and
// DeltaNet (arXiv:2406.06484) have it before their recurrences:
//   y_t[c] = bias[c] + Σ_i weight[c][i] x_{t - taps + 1 + i}[c],  i = 0 ... taps - 1
// Inputs before the first token come from the state, the last taps - 1 inputs. Gradients, with g = dL/dy:
//   dx_s[c] = Σ_i weight[c][i] g_{s + taps - 1 - i}[c];  dweight[c][i] = Σ_t g_t[c] x_{t - taps + 1 + i}[c]
#pragma once

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

template <class Real>
struct CausalConvolutionForward {
  SequenceSize size;
  Index taps;          ///< at least 1
  const Real* x;       ///< [batch, time, channels]
  const Real* weight;  ///< [channels, taps], the last one weighs the present token
  const Real* bias;    ///< [channels]; or null
  const Real* state;   ///< [batch, taps - 1, channels], the oldest input first; or null for zeros
  Real* y;             ///< out [batch, time, channels]
  Real* final_state;   ///< out, the last taps - 1 inputs; or null
};
template <class Real>
void causal_convolution_forward(const CausalConvolutionForward<Real>& call);

template <class Real>
struct CausalConvolutionBackward {
  SequenceSize size;
  Index taps;
  const Real* x;
  const Real* weight;
  const Real* state;             ///< or null for zeros
  const Real* grad_y;            ///< [batch, time, channels]
  const Real* grad_final_state;  ///< or null for zeros
  Real* grad_x;                  ///< out [batch, time, channels]
  Real* grad_weight;             ///< out [channels, taps]
  Real* grad_bias;               ///< out [channels]; or null
  Real* grad_state;              ///< out [batch, taps - 1, channels]; or null
};
template <class Real>
void causal_convolution_backward(const CausalConvolutionBackward<Real>& call);

}  // namespace rwkvlab::kernels
