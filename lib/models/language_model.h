// A stack of time and channel mixes that predicts the next token.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "autograd/ops/cross_entropy.h"
#include "blocks/mixer.h"
#include "config/registry.h"
#include "models/initial_state.h"
#include "models/model_site.h"
#include "models/recompute_params.h"
#include "nn/layers.h"

namespace rwkvlab {

/// Mixers of some layers in place of the model's own.
struct LayerOverride {
  std::vector<int> layers;
  Choice time_mix;     ///< left out: the model's own
  Choice channel_mix;  ///< left out: the model's own
};

/// One entry of a pattern of mixers that repeats over the layers.
struct LayerPattern {
  Choice time_mix;     ///< left out: the model's own
  Choice channel_mix;  ///< left out: the model's own
};

/// RWKV-4a: attention without softmax after one layer, on the raw embeddings.
struct TinyAttentionParams {
  int layer = 0;
  std::int64_t width = 256;
};

struct LanguageModelParams : RecomputeParams {
  int layers = 6;
  std::int64_t width = 256;
  std::int64_t vocabulary_size = 0;
  Choice time_mix;
  Choice channel_mix;
  std::vector<LayerPattern> pattern;
  std::vector<LayerOverride> layer_overrides;
  double layer_norm_epsilon = 1e-5;
  std::string embedding_init = "uniform";
  double embedding_scale = 1e-4;
  bool embedding_norm = true;
  std::string positions = "none";
  std::int64_t max_length = 1024;
  bool tied_head = false;
  std::string initial_values = "blocks";
  double dropout = 0;
  std::optional<double> embedding_dropout;
  Choice pre_ffn;
  std::int64_t copy_head = 0;
  std::optional<TinyAttentionParams> tiny_attention;
  bool learned_state = false;
};

void describe(Fields<LanguageModelParams>& f);

class PositionEmbedding;
class ResidualLayer;

/// Logits of the tokens whose target counts.
struct TargetLogits {
  /// [batch, time, vocabulary]; or, where enough targets do not count, [1, rows, vocabulary]: one row per target that
  /// does, in their order, and then perhaps some rows of no meaning.
  Var logits;
  Tensor targets;  ///< int64, one per row of the logits; rows of no meaning have none
};

/// x = LN(emb[tokens]); per layer x += TimeMix(LN(x)), x += ChannelMix(LN(x)); logits = head LN(x). Parameter names are
/// those of official RWKV checkpoints. Options: learned positions and a head that is tied to the embedding, as in the
/// GPT family; pre_ffn, copy head, tiny attention (RWKV-4a) and dropout of the official trainer.
class LanguageModel final : public Module {
 public:
  /// `vocabulary` serves when the parameters leave vocabulary_size 0. Throws ConfigError for impossible combinations.
  explicit LanguageModel(const LanguageModelParams& params, std::int64_t vocabulary = 0);
  ~LanguageModel() override;

  /// tokens: int64 [batch, time]; result [batch, time, vocabulary]. Probes "blocks.N.output" (the residual stream after
  /// each layer) among others.
  Var logits(const Tensor& tokens, const ForwardContext& context) const;
  /// The same where a target counts: final norm and head see no more than that, when it is a fraction. Their probes
  /// then show those rows alone. targets: int64 [batch, time]. With a copy head, or without memory, these are all
  /// tokens.
  TargetLogits target_logits(const Tensor& tokens, const Tensor& targets, const ForwardContext& context) const;
  /// Mean cross-entropy in nats; see autograd/ops/cross_entropy.h for `l2wrap`. Without it the logits are
  /// target_logits; `row_losses` belong to their rows. They are computed some rows at a time and never stored whole
  /// (autograd/ops/projected_cross_entropy.h), except for probes and with a copy head.
  CrossEntropyLoss loss(const Tensor& tokens, const Tensor& targets, double l2wrap,
                        const ForwardContext& context) const;

  std::int64_t vocabulary() const { return vocabulary_; }
  const LanguageModelParams& params() const { return params_; }
  /// Where sequences start when no state comes in: with learned_state, what was learned; else empty.
  State start(std::int64_t batch) const;
  std::string summary() const override;

  /// The residual stream before the first layer, [batch, time, width]: embedding and its norm. With `embedded`, the raw
  /// embedding is taken from there instead of the table (to corrupt it).
  Var embed(const Tensor& tokens, const ForwardContext& context, const Var& embedded = {}) const;
  /// One layer, kept or to be computed again as the parameters say; `embedded` is the raw embedding, used by tiny
  /// attention alone. Whoever runs the layers one by one gives those of a pass the same `context.shared`.
  Var layer(int index, const Var& x, const Var& embedded, const ForwardContext& context) const;
  /// Final norm, head and copy head.
  Var head(const Var& x, const Tensor& tokens, const ForwardContext& context) const;
  /// The embedding rows of tokens, before any norm.
  Var raw_embedding(const Tensor& tokens, const ForwardContext& context) const;

 private:
  // Head and loss of the stream after the final norm.
  CrossEntropyLoss head_loss(const Var& h, const Tensor& targets, double l2wrap, const ForwardContext& context) const;
  // The residual stream after the last layer.
  Var stream(const Tensor& tokens, const ForwardContext& context) const;

  LanguageModelParams params_;
  std::int64_t vocabulary_;
  Embedding* embedding_;
  LayerNorm* embedding_norm_ = nullptr;
  PositionEmbedding* positions_ = nullptr;
  Dropout* dropout_;
  std::vector<ResidualLayer*> layers_;
  LearnedState learned_state_;
  LayerNorm* final_norm_;
  Linear* head_ = nullptr;  // null: tied to the embedding
  Linear *copy_query_ = nullptr, *copy_key_ = nullptr;
};

/// A rooted model without memory: allocate() it, or read weights into it, or run it in shape-only mode.
std::unique_ptr<LanguageModel> make_language_model(const LanguageModelParams& params, std::int64_t vocabulary = 0);

}  // namespace rwkvlab
