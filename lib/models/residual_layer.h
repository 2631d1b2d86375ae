// One layer of a language model: two residual branches, and optionally the tiny attention of RWKV-4a.
#pragma once

#include <memory>

#include "blocks/mixer.h"
#include "nn/layers.h"

namespace rwkvlab {

/// x += W_v-projected embeddings, weighted by q κᵀ / sqrt(d) without softmax; h = LN(x), q = W_q h, κ = W_k h [.., d].
/// Parameters tiny_ln, tiny_q, tiny_k, tiny_v stand directly in the layer, as in official checkpoints.
struct TinyAttention {
  LayerNorm* norm = nullptr;
  Linear *query = nullptr, *key = nullptr, *value = nullptr;
  std::int64_t width = 0;
};

struct ResidualLayerSite {
  MixerSite site;
  double layer_norm_epsilon = 1e-5;
  double dropout = 0;
  std::int64_t tiny_attention = 0;  ///< width, 0 for none
};

class ResidualLayer final : public Module {
 public:
  /// `time_mix_name` is "att", or "ffnPre" when a channel mix stands in its place.
  ResidualLayer(const ResidualLayerSite& site, const std::string& time_mix_name, std::unique_ptr<Mixer> time_mix,
                std::unique_ptr<Mixer> channel_mix);
  /// The norm of the embeddings belongs to the first layer by name ("blocks.0.ln0").
  LayerNorm& add_embedding_norm(std::int64_t width, double epsilon) { return child<LayerNorm>("ln0", width, epsilon); }

  Var forward(const Var& x, const Var& embedded, const ForwardContext& context) const;

 private:
  /// forward() for one token of generation (blocks/token_step.h).
  Var step(const Var& x, const ForwardContext& context) const;
  Var tiny_attention(const Var& x, const Var& embedded, const ForwardContext& context) const;

  LayerNorm *time_norm_, *channel_norm_;
  Mixer *time_mix_, *channel_mix_;
  Dropout *time_dropout_, *channel_dropout_;
  TinyAttention tiny_;
  double epsilon_;
};

}  // namespace rwkvlab
