// Root-mean-square normalisation as a layer.
#pragma once

#include "nn/module.h"

namespace rwkvlab {

/// y = x / sqrt(mean(x²) + epsilon) ⊙ weight over each of `groups` equal parts of the channels (arXiv:1910.07467). The
/// weight (1 at first) has `weights` elements: all channels, or those of a group, which all groups then share.
class RmsNorm : public Module {
 public:
  RmsNorm(std::int64_t weights, std::int64_t groups, double epsilon);
  Var forward(const Var& x, const ForwardContext& context) const;
  std::string summary() const override;

 private:
  std::int64_t groups_;
  double epsilon_;
  Parameter& weight_;
};

}  // namespace rwkvlab
