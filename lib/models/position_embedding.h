// Learned positions of a language model.
#pragma once

#include "nn/module.h"

namespace rwkvlab {

/// x_t + P[s + t] with a learned table P [limit, channels] under the name "weight" and s tokens before this chunk of
/// the sequence (Vaswani et al., arXiv:1706.03762, section 3.5, learned variant). State "position" [1]: s.
class PositionEmbedding final : public Module {
 public:
  PositionEmbedding(std::int64_t limit, std::int64_t channels, Initialiser initial);
  /// x: [batch, time, channels]. Throws ConfigError when a sequence goes on behind the last position.
  Var forward(const Var& x, const ForwardContext& context) const;
  std::string summary() const override;

 private:
  Tensor positions(const Var& before, std::int64_t batch, std::int64_t time) const;

  std::int64_t limit_, channels_;
  Parameter& weight_;
};

}  // namespace rwkvlab
