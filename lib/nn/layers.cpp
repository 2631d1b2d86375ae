#include "nn/layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/feed_forward.h"
#include "autograd/ops/group_norm.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/mixed_linear.h"
#include "autograd/stored_weights.h"
#include "kernels/feed_forward.h"
#include "kernels/mixed_products.h"

namespace rwkvlab {

Linear::Linear(std::int64_t inputs, std::int64_t outputs, Initialiser initial, bool has_bias)
    : inputs_(inputs),
      outputs_(outputs),
      weight_(parameter("weight", {outputs, inputs}, std::move(initial), matrix_rules())),
      bias_(has_bias ? &parameter("bias", {outputs}, initialise::constant(0)) : nullptr) {}

Var Linear::forward(const Var& x, const ForwardContext& context) const {
  return in_module(*this, context, [&] {
    Var y = linear(x, weight_.var, bias_ != nullptr ? bias_->var : Var());
    probe(context, "output", y);
    return y;
  });
}

Var Linear::forward_hidden(const Linear& hidden, Activation kind, const Var& x, const ForwardContext& context) const {
  if (!joins_others(context) || !hidden.joins_others(context) || !kernels::slope_follows_from_value(kind)) {
    return forward(activation(kind, hidden.forward(x, context)), context);
  }
  if (context.probes != nullptr && context.probes->wants(hidden.path() + ".output")) {
    const PauseRecording unrecorded;  // Only to be looked at: what is trained does not depend on who looks.
    hidden.forward(x, context);
  }
  Var y = feed_forward(kind, x, hidden.weight_.var, weight_.var);
  probe(context, "output", y);
  return y;
}

bool Linear::joins_others(const ForwardContext& context) const {
  return bias_ == nullptr && context.listener == nullptr && StoredWeights::current() == nullptr &&
         StoredWeights::Survey::current() == nullptr;
}

std::vector<Var> forward_each(const std::vector<const Linear*>& layers, const std::vector<Var>& inputs,
                              const ForwardContext& context) {
  std::vector<Var> results;
  for (std::size_t j = 0; j < layers.size(); ++j) results.push_back(layers[j]->forward(inputs[j], context));
  return results;
}

std::vector<Var> forward_mixed(const std::vector<const Linear*>& layers, const TokenMixInputs& in,
                               const ForwardContext& context) {
  const bool together =
      in.x.shape().rank() == 3 && kernels::mixes_in_blocks(in.x.shape().rows()) &&
      std::all_of(layers.begin(), layers.end(), [&](const Linear* layer) { return layer->joins_others(context); });
  if (!together) {
    return forward_each(layers, token_mix(in.x, in.previous, in.mixes, in.weighs, in.shift), context);
  }
  std::vector<Var> weights;
  for (const Linear* const layer : layers) weights.push_back(layer->weight());
  const std::vector<Var> results = mixed_linear(in.x, in.previous, in.mixes, weights, in.weighs, in.shift);
  for (std::size_t j = 0; j < layers.size(); ++j) layers[j]->probe(context, "output", results[j]);
  return results;
}

std::string Linear::summary() const { return fmt::format("{} -> {}", inputs_, outputs_); }

LayerNorm::LayerNorm(std::int64_t channels, double epsilon, Initialiser weight)
    : channels_(channels),
      epsilon_(epsilon),
      weight_(parameter("weight", {channels}, std::move(weight))),
      bias_(parameter("bias", {channels}, initialise::constant(0))) {}

Var LayerNorm::forward(const Var& x, const ForwardContext& context) const {
  return in_module(*this, context, [&] {
    Var y = layer_norm(x, weight_.var, bias_.var, epsilon_);
    probe(context, "output", y);
    return y;
  });
}

std::pair<Var, Var> LayerNorm::forward_residual(const Var& x, const Var& branch, const ForwardContext& context) const {
  std::pair<Var, Var> result;
  in_module(*this, context, [&] {
    result = add_layer_norm(x, branch, weight_.var, bias_.var, epsilon_);
    probe(context, "output", result.second);
    return result.second;
  });
  return result;
}

std::string LayerNorm::summary() const { return fmt::format("{} channels, epsilon {:g}", channels_, epsilon_); }

GroupNorm::GroupNorm(std::int64_t channels, std::int64_t groups, double epsilon, Initialiser weight)
    : groups_(groups),
      epsilon_(epsilon),
      weight_(parameter("weight", {channels}, std::move(weight))),
      bias_(parameter("bias", {channels}, initialise::constant(0))) {}

Var GroupNorm::forward(const Var& x, const ForwardContext& context) const {
  return in_module(*this, context, [&] {
    Var y = group_norm(x, weight_.var, bias_.var, groups_, epsilon_);
    probe(context, "output", y);
    return y;
  });
}

std::string GroupNorm::summary() const { return fmt::format("{} groups, epsilon {:g}", groups_, epsilon_); }

Embedding::Embedding(std::int64_t vocabulary, std::int64_t channels, Initialiser initial)
    : vocabulary_(vocabulary),
      channels_(channels),
      weight_(parameter("weight", {vocabulary, channels}, std::move(initial), matrix_rules())) {}

Var Embedding::forward(const Tensor& tokens, const ForwardContext& context) const {
  return in_module(*this, context, [&] {
    Var y = embedding(tokens, weight_.var);
    probe(context, "output", y);
    return y;
  });
}

Var Embedding::scores(const Var& h, const ForwardContext& context) const {
  return in_module(*this, context, [&] {
    Var y = linear(h, weight_.var);
    probe(context, "scores", y);
    return y;
  });
}

std::string Embedding::summary() const { return fmt::format("{} tokens, {} channels", vocabulary_, channels_); }

Var Dropout::forward(const Var& x, const ForwardContext& context) const {
  if (!context.training || probability_ == 0) return x;
  kernels::DropoutMask mask;
  mask.probability = probability_;
  mask.seed = context.seed;
  mask.stream = stable_hash(path());
  // Every step has its own run of indices; 2^40 elements are more than a batch can hold.
  mask.first_index = context.step << 40;
  return dropout(x, mask);
}

std::string Dropout::summary() const { return fmt::format("p = {:g}", probability_); }

Initialiser rwkv_orthogonal(std::int64_t inputs, std::int64_t outputs, double factor) {
  const double ratio = static_cast<double>(outputs) / static_cast<double>(inputs);
  return initialise::orthogonal(factor * (outputs > inputs ? std::sqrt(ratio) : 1.0));
}

}  // namespace rwkvlab
