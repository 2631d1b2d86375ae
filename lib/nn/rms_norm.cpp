#include "nn/rms_norm.h"

#include <fmt/format.h>

#include "autograd/ops/rms_norm.h"

namespace rwkvlab {

RmsNorm::RmsNorm(std::int64_t weights, std::int64_t groups, double epsilon)
    : groups_(groups), epsilon_(epsilon), weight_(parameter("weight", {weights}, initialise::constant(1))) {}

Var RmsNorm::forward(const Var& x, const ForwardContext& context) const {
  return in_module(*this, context, [&] {
    Var y = rms_norm(x, weight_.var, groups_, epsilon_);
    probe(context, "output", y);
    return y;
  });
}

std::string RmsNorm::summary() const { return fmt::format("{} groups, epsilon {:g}", groups_, epsilon_); }

}  // namespace rwkvlab
