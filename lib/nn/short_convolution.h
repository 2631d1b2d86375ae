// A short causal convolution as a layer that carries its last inputs.
#pragma once

#include "nn/module.h"

namespace rwkvlab {

/// y_t[c] = Σ_i weight[c][i] x_{t - taps + 1 + i}[c] (+ bias[c]), every channel on its own (arXiv:2312.00752). Weight
/// [channels, 1, taps] and bias, both U(-taps^(-1/2), taps^(-1/2)) at first, as torch's Conv1d; state "inputs"
/// [taps - 1, channels].
class ShortConvolution : public Module {
 public:
  ShortConvolution(std::int64_t channels, std::int64_t taps, bool has_bias);
  Var forward(const Var& x, const ForwardContext& context) const;
  std::string summary() const override;

 private:
  std::int64_t channels_, taps_;
  Parameter& weight_;
  Parameter* bias_;
};

}  // namespace rwkvlab
