#include "nn/short_convolution.h"

#include <fmt/format.h>

#include <cmath>

#include "autograd/ops/causal_convolution.h"
#include "nn/layers.h"

namespace rwkvlab {
namespace {

Initialiser within(std::int64_t taps) {
  const double limit = 1 / std::sqrt(static_cast<double>(taps));
  return initialise::uniform(-limit, limit);
}

}  // namespace

ShortConvolution::ShortConvolution(std::int64_t channels, std::int64_t taps, bool has_bias)
    : channels_(channels),
      taps_(taps),
      weight_(parameter("weight", {channels, 1, taps}, within(taps), matrix_rules())),
      bias_(has_bias ? &parameter("bias", {channels}, within(taps)) : nullptr) {
  if (taps > 1) state("inputs", {taps - 1, channels});
}

Var ShortConvolution::forward(const Var& x, const ForwardContext& context) const {
  return in_module(*this, context, [&] {
    const bool keeps = taps_ > 1 && wants_state(context);
    const CausalConvolutionResult result = causal_convolution(x, weight_.var, bias_ != nullptr ? bias_->var : Var(),
                                                              taps_ > 1 ? read_state(context, "inputs") : Var(), keeps);
    if (keeps) write_state(context, "inputs", result.final_state);
    probe(context, "output", result.y);
    return result.y;
  });
}

std::string ShortConvolution::summary() const { return fmt::format("{} channels, {} taps", channels_, taps_); }

}  // namespace rwkvlab
