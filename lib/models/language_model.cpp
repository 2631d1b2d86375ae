#include "models/language_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "autograd/ops/attention.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/matmul.h"
#include "autograd/ops/projected_cross_entropy.h"
#include "base/error.h"
#include "models/initial_values.h"
#include "models/position_embedding.h"
#include "models/recompute_fields.h"
#include "models/recomputed_layer.h"
#include "models/residual_layer.h"

namespace rwkvlab {
namespace {

void describe_override(Fields<LayerOverride>& f) {
  f.doc("Other mixers for some layers.");
  f.required("layers", &LayerOverride::layers, "layer numbers, counted from 0", at_least(0)).not_empty();
  f.optional_kind("time_mix", &LayerOverride::time_mix, "time_mix",
                  "time mix of these layers; left out: the model's own");
  f.optional_kind("channel_mix", &LayerOverride::channel_mix, "channel_mix",
                  "channel mix of these layers; left out: the model's own");
}

void describe_pattern(Fields<LayerPattern>& f) {
  f.doc("Mixers of one of the layers that a pattern repeats.");
  f.optional_kind("time_mix", &LayerPattern::time_mix, "time_mix", "time mix; left out: the model's own");
  f.optional_kind("channel_mix", &LayerPattern::channel_mix, "channel_mix", "channel mix; left out: the model's own");
}

void describe_tiny_attention(Fields<TinyAttentionParams>& f) {
  f.doc("RWKV-4a: a small attention without softmax after one layer.");
  f.required("layer", &TinyAttentionParams::layer, "the layer it follows, counted from 0", at_least(0));
  f.add("width", &TinyAttentionParams::width, "channels of query and key", at_least(1)).unit("channels");
}

std::string check_tiny_attention(const LanguageModelParams& p) {
  if (p.tiny_attention && p.tiny_attention->layer >= p.layers) {
    return fmt::format("tiny_attention.layer is {}, but the model has layers 0 to {}", p.tiny_attention->layer,
                       p.layers - 1);
  }
  return "";
}

std::string check_overrides(const LanguageModelParams& p) {
  for (const LayerOverride& entry : p.layer_overrides) {
    for (const int layer : entry.layers) {
      if (layer >= p.layers)
        return fmt::format("layer_overrides names layer {}, but the model has layers 0 to {}", layer, p.layers - 1);
    }
  }
  return "";
}

std::string check_learned_state(const LanguageModelParams& p) {
  if (!p.learned_state || (p.copy_head == 0 && !p.tiny_attention)) return "";
  return fmt::format("learned_state: a model with {} sees the whole sequence at once and has no state",
                     p.copy_head > 0 ? "copy_head" : "tiny_attention");
}

Initialiser embedding_initialiser(const LanguageModelParams& p) {
  if (p.embedding_init == "normal") return initialise::normal(p.embedding_scale);
  if (p.embedding_init == "orthogonal") return initialise::orthogonal(p.embedding_scale);
  return initialise::uniform(-p.embedding_scale, p.embedding_scale);
}

// The last override that names the layer wins, then the pattern, then the model's own.
const Choice& choice_for(const LanguageModelParams& p, int layer, Choice LayerOverride::*member,
                         Choice LayerPattern::*pattern_member, const Choice& standard) {
  for (auto entry = p.layer_overrides.rbegin(); entry != p.layer_overrides.rend(); ++entry) {
    const bool named = std::find(entry->layers.begin(), entry->layers.end(), layer) != entry->layers.end();
    if (named && (*entry).*member) return (*entry).*member;
  }
  if (!p.pattern.empty()) {
    const Choice& repeated = p.pattern[static_cast<std::size_t>(layer) % p.pattern.size()].*pattern_member;
    if (repeated) return repeated;
  }
  return standard;
}

std::unique_ptr<Mixer> build_mixer(const char* slot, const Choice& choice, const MixerSite& site) {
  auto mixer = build_kind<Mixer, MixerSite>(slot, choice, site);
  if (!mixer->is_causal()) {
    throw ConfigError(
        fmt::format("the {} '{}' is for images: every token sees all others, and a language model would see "
                    "the tokens that it predicts; choose another kind, or an image model",
                    slot, choice.kind));
  }
  return mixer;
}

std::unique_ptr<ResidualLayer> build_layer(const LanguageModelParams& p, int index) {
  ResidualLayerSite where;
  where.site = {index, p.layers, p.width};
  where.layer_norm_epsilon = p.layer_norm_epsilon;
  where.dropout = p.dropout;
  if (p.tiny_attention && p.tiny_attention->layer == index) where.tiny_attention = p.tiny_attention->width;
  const Choice& time = choice_for(p, index, &LayerOverride::time_mix, &LayerPattern::time_mix, p.time_mix);
  const Choice& channel = choice_for(p, index, &LayerOverride::channel_mix, &LayerPattern::channel_mix, p.channel_mix);
  const bool pre_ffn = p.pre_ffn && index == 0;
  return std::make_unique<ResidualLayer>(
      where, pre_ffn ? "ffnPre" : "att",
      pre_ffn ? build_mixer("channel_mix", p.pre_ffn, where.site) : build_mixer("time_mix", time, where.site),
      build_mixer("channel_mix", channel, where.site));
}

// Numbers of the rows whose target counts, as int64 [count]; undefined when most do. Sizes come in sixteenths of all
// rows, so that batches with ever other counts do not have the matrix products planned ever again; rows that only fill
// up are row 0.
Tensor counted_rows(const Tensor& targets) {
  if (ShapeOnly::active()) return {};
  const std::span<const std::int64_t> all = targets.span<std::int64_t>();
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i] != kernels::ignored_target) rows.push_back(static_cast<std::int64_t>(i));
  }
  const std::size_t step = (all.size() + 15) / 16;
  const std::size_t count = (rows.size() + step - 1) / step * step;
  if (rows.empty() || 4 * count > 3 * all.size()) return {};
  rows.resize(count, 0);
  return Tensor::from<std::int64_t>({static_cast<std::int64_t>(count)}, rows);
}

// The counted targets in their order, and none for the rows that fill up.
Tensor counted_targets(const Tensor& targets, std::int64_t count) {
  const Tensor result = Tensor::empty({1, count}, DType::i64);
  const std::span<std::int64_t> into = result.span<std::int64_t>();
  std::fill(into.begin(), into.end(), kernels::ignored_target);
  auto at = into.begin();
  for (const std::int64_t target : targets.span<std::int64_t>()) {
    if (target != kernels::ignored_target) *at++ = target;
  }
  return result;
}

const RegisterSlot time_mix_slot("time_mix", "How a layer mixes tokens over time.");
const RegisterSlot channel_mix_slot("channel_mix", "How a layer mixes the channels of a token.");
const RegisterSlot model_slot("model", "What is trained.");
const RegisterKind<Module, LanguageModelParams, ModelSite> language_model(
    "model", "language_model", describe, [](const LanguageModelParams& p, const ModelSite& site) {
      return std::make_unique<LanguageModel>(p, site.vocabulary);
    });

}  // namespace

void describe(Fields<LanguageModelParams>& f) {
  using P = LanguageModelParams;
  f.doc("A stack of time and channel mixes that predicts the next token.");
  f.paper("arXiv:2305.13048");
  f.add("layers", &P::layers, "number of layers", between(1, 1000)).unit("layers");
  f.add("width", &P::width, "channels of the residual stream", between(1, 65536)).unit("channels");
  f.add("vocabulary_size", &P::vocabulary_size, "number of tokens; 0: as many as the data has", at_least(0))
      .unit("tokens");
  f.kind("time_mix", &P::time_mix, "time_mix", "time mix of every layer", "rwkv4");
  f.kind("channel_mix", &P::channel_mix, "channel_mix", "channel mix of every layer", "rwkv4");
  f.list("pattern", &P::pattern, describe_pattern,
         "mixers that take turns: layer i has those of entry i modulo the number of entries");
  f.list("layer_overrides", &P::layer_overrides, describe_override, "other mixers for some layers");
  f.add("layer_norm_epsilon", &P::layer_norm_epsilon, "added to the variance in layer norms", above(0));
  f.add(
      "embedding_init", &P::embedding_init, "initial embeddings",
      one_of(
          {{"uniform", "U(-scale, scale)"}, {"normal", "N(0, scale²)"}, {"orthogonal", "orthogonal with gain scale"}}));
  f.add("embedding_scale", &P::embedding_scale,
        "scale of the initial embeddings (the paper's small init is 1e-4; the official trainer uses the initial "
        "learning rate)",
        at_least(0));
  f.add("embedding_norm", &P::embedding_norm, "layer norm of the embeddings before the first layer (ln0)");
  f.add("positions", &P::positions, "positions that are added to the embeddings",
        one_of({{"none", "none; the time mixes may have their own"}, {"learned", "a learned vector per position"}}));
  f.add("max_length", &P::max_length, "learned positions: the longest sequence", between(1, 1 << 20)).unit("tokens");
  f.add("tied_head", &P::tied_head, "the head is the embedding's table: logits = LN(x) embᵀ");
  f.add("initial_values", &P::initial_values, "initial weights",
        one_of({{"blocks", "each block's own, and the official ones of embedding and head"},
                {"gpt2",
                 "N(0, 0.02²) for tables and projections, those that end a residual branch divided by sqrt(2 layers); "
                 "biases 0"}}));
  f.add("dropout", &P::dropout, "dropout of the embeddings and after every residual branch", at_least(0) && below(1));
  f.add("embedding_dropout", &P::embedding_dropout, "dropout of the embeddings; left out: as `dropout`",
        at_least(0) && below(1));
  f.optional_kind("pre_ffn", &P::pre_ffn, "channel_mix",
                  "a channel mix in place of the first layer's time mix (ffnPre)");
  f.add("copy_head", &P::copy_head, "width of the copy head (head_qk of the official code); 0: none", at_least(0))
      .unit("channels");
  f.section("tiny_attention", &P::tiny_attention, describe_tiny_attention, "the small attention of RWKV-4a");
  f.check(check_tiny_attention, "tiny_attention");
  f.add("learned_state", &P::learned_state,
        "learn the state that every sequence starts from: all pieces of a fixed size, as parameters `<piece>.initial`");
  describe_recompute(f);
  f.check(check_overrides, "layer_overrides");
  f.check(check_learned_state, "learned_state");
}

LanguageModel::LanguageModel(const LanguageModelParams& params, std::int64_t vocabulary)
    : params_(params), vocabulary_(params.vocabulary_size > 0 ? params.vocabulary_size : vocabulary) {
  if (vocabulary_ <= 0) {
    throw ConfigError("the vocabulary size is unknown: set model.vocabulary_size, or name data that has one");
  }
  if (vocabulary > vocabulary_) {
    throw ConfigError(fmt::format("model.vocabulary_size is {}, but the data has {} tokens", vocabulary_, vocabulary));
  }
  for (const std::string& problem : {check_tiny_attention(params), check_overrides(params),
                                     check_recompute(params, params.layers), check_learned_state(params)}) {
    if (!problem.empty()) throw ConfigError(problem);
  }
  embedding_ = &child<Embedding>("emb", vocabulary_, params.width, embedding_initialiser(params));
  if (params.positions == "learned") {
    positions_ = &child<PositionEmbedding>("positions", params.max_length, params.width, embedding_initialiser(params));
  }
  dropout_ = &child<Dropout>("drop0", params.embedding_dropout.value_or(params.dropout));
  for (int index = 0; index < params.layers; ++index) {
    auto layer = build_layer(params, index);
    if (index == 0 && params.embedding_norm)
      embedding_norm_ = &layer->add_embedding_norm(params.width, params.layer_norm_epsilon);
    layers_.push_back(&adopt(fmt::format("blocks.{}", index), std::move(layer)));
  }
  final_norm_ = &child<LayerNorm>("ln_out", params.width, params.layer_norm_epsilon);
  if (!params.tied_head) {
    head_ = &child<Linear>("head", params.width, vocabulary_, rwkv_orthogonal(params.width, vocabulary_, 0.5));
  }
  if (params.copy_head > 0) {
    copy_query_ = &child<Linear>("head_q", params.width, params.copy_head, initialise::constant(0));
    copy_key_ =
        &child<Linear>("head_k", params.width, params.copy_head, rwkv_orthogonal(params.width, params.copy_head, 0.1));
  }
  for (std::size_t index = 0; params.learned_state && index < layers_.size(); ++index)
    learned_state_.declare(*this, fmt::format("blocks.{}", index), *layers_[index]);
  if (params.initial_values == "gpt2") use_gpt2_initial_values(*this, params.layers);
}

LanguageModel::~LanguageModel() = default;

State LanguageModel::start(std::int64_t batch) const {
  if (learned_state_.empty()) return {};
  return learned_state_.start(*this, batch, embedding_->weight().dtype());
}

std::string LanguageModel::summary() const {
  return fmt::format("language_model, {} layers, width {}, {} tokens", params_.layers, params_.width, vocabulary_);
}

Var LanguageModel::raw_embedding(const Tensor& tokens, const ForwardContext& context) const {
  return embedding_->forward(tokens, context);
}

Var LanguageModel::embed(const Tensor& tokens, const ForwardContext& context, const Var& embedded) const {
  const Var raw = embedded.defined() ? embedded : raw_embedding(tokens, context);
  // The official code drops out the raw embedding; ln0 follows.
  const Var dropped = dropout_->forward(positions_ != nullptr ? positions_->forward(raw, context) : raw, context);
  return embedding_norm_ != nullptr ? embedding_norm_->forward(dropped, context) : dropped;
}

Var LanguageModel::layer(int index, const Var& x, const Var& embedded, const ForwardContext& context) const {
  const ResidualLayer& layer = *layers_.at(static_cast<std::size_t>(index));
  const bool again = Tape::current() != nullptr && params_.recomputes(index, params_.layers);
  return again ? recomputed_layer(layer, x, embedded, context) : layer.forward(x, embedded, context);
}

Var LanguageModel::head(const Var& x, const Tensor& tokens, const ForwardContext& context) const {
  const Var h = final_norm_->forward(x, context);
  Var logits = head_ != nullptr ? head_->forward(h, context) : embedding_->scores(h, context);
  if (copy_query_ == nullptr) return logits;
  if (context.state_in != nullptr || context.state_out != nullptr) {
    throw ShapeError("copy_head sees the whole sequence at once and cannot carry a state");
  }
  const Var scores = matmul(copy_query_->forward(h, context), copy_key_->forward(h, context), false, true);
  return add_at_tokens(logits, causal_mask(scores, 1.0 / static_cast<double>(params_.copy_head)), tokens);
}

Var LanguageModel::stream(const Tensor& tokens, const ForwardContext& context) const {
  Var raw = raw_embedding(tokens, context);
  Var x = embed(tokens, context, raw);
  if (!params_.tiny_attention) raw = Var();
  SharedValues shared;
  ForwardContext inner = context;
  if (inner.shared == nullptr) inner.shared = &shared;
  const State begin = inner.state_in == nullptr ? start(tokens.shape()[0]) : State();
  if (!begin.empty()) inner.state_in = &begin;
  for (int index = 0; index < params_.layers; ++index) x = layer(index, x, raw, inner);
  return x;
}

Var LanguageModel::logits(const Tensor& tokens, const ForwardContext& context) const {
  return in_module(*this, context, [&] { return head(stream(tokens, context), tokens, context); });
}

TargetLogits LanguageModel::target_logits(const Tensor& tokens, const Tensor& targets,
                                          const ForwardContext& context) const {
  const Tensor rows = copy_query_ == nullptr ? counted_rows(targets) : Tensor();
  if (!rows.defined()) return {logits(tokens, context), targets};
  Var logits =
      in_module(*this, context, [&] { return head(gather_rows(stream(tokens, context), rows), tokens, context); });
  return {std::move(logits), counted_targets(targets, rows.elements())};
}

CrossEntropyLoss LanguageModel::loss(const Tensor& tokens, const Tensor& targets, double l2wrap,
                                     const ForwardContext& context) const {
  if (copy_query_ != nullptr) return cross_entropy(logits(tokens, context), targets, l2wrap);
  const Tensor rows = l2wrap > 0 ? Tensor() : counted_rows(targets);  // L2Wrap pulls at all rows.
  CrossEntropyLoss result;
  in_module(*this, context, [&] {
    Var x = stream(tokens, context);
    if (rows.defined()) x = gather_rows(x, rows);
    const Var h = final_norm_->forward(std::exchange(x, Var()), context);
    result = head_loss(h, rows.defined() ? counted_targets(targets, rows.elements()) : targets, l2wrap, context);
    return result.loss;
  });
  return result;
}

CrossEntropyLoss LanguageModel::head_loss(const Var& h, const Tensor& targets, double l2wrap,
                                          const ForwardContext& context) const {
  if (context.probes != nullptr) {  // The logits are computed for them alone, so that the loss is the same without.
    const PauseRecording pause;
    ForwardContext shown = context;
    shown.listener = nullptr;
    head_ != nullptr ? head_->forward(h, shown) : embedding_->scores(h, shown);
  }
  CrossEntropyLoss result;
  const Module& projection = head_ != nullptr ? static_cast<const Module&>(*head_) : *embedding_;
  in_module(projection, context, [&] {
    result = projected_cross_entropy(h, head_ != nullptr ? head_->weight() : embedding_->weight(), targets, l2wrap);
    return result.loss;
  });
  return result;
}

std::unique_ptr<LanguageModel> make_language_model(const LanguageModelParams& params, std::int64_t vocabulary) {
  return make_root(std::make_unique<LanguageModel>(params, vocabulary));
}

}  // namespace rwkvlab
