// The cases of RWKV-5: what their config keys mean in the project's own terms, and the tolerances.
//
// Config keys: n_layer, n_embd, vocab_size, dim_att, dim_ffn, head_size, head_size_divisor, group_norm_eps,
// layer_norm_eps. The versions 5.0, 5.1 and 5.2 are recognised by their parameters, as in checkpoints.
#include "verify/case_registry.h"
#include "verify/systems/model_parameters.h"

namespace rwkvlab {
namespace {

// Whether the tensor has one number per head: [heads] or [heads, 1].
bool is_per_head(const Tensor* tensor) {
  return tensor != nullptr && !(tensor->shape().rank() == 2 && tensor->shape()[1] > 1);
}

Node time_mix_parameters(const ReferenceCase& reference) {
  const CaseConfig& config = reference.config;
  const std::int64_t head_size = config.integer_or("head_size", 0, 0, most_channels);
  const Tensor* const decay = find_tensor(reference, "time_decay");
  const Tensor* const bonus = find_tensor(reference, "time_faaaa");
  const char* const form = reference.mentions("time_first") ? "per_head_exponential"
                           : is_per_head(bonus)             ? "per_head"
                                                            : "per_channel";
  return map_of({{"head_size", Node(head_size)},
                 {"attention_width", Node(config.integer_or("dim_att", 0, 0, most_channels))},
                 {"head_size_divisor", Node(config.number_or("head_size_divisor", 8))},
                 {"norm_epsilon", Node(config.number_or("group_norm_eps", 1e-5))},
                 {"decay", Node(is_per_head(decay) ? "per_head" : "per_channel")},
                 {"bonus", Node(form)},
                 {"gate", Node(reference.mentions("time_mix_g") ? "silu" : "none")}});
}

Node model_parameters(const ReferenceCase& reference) {
  const Node channel_mix = with_kind("rwkv5", hidden_width_parameters(reference));
  return language_model_parameters(reference, with_kind("rwkv5", time_mix_parameters(reference)), channel_mix,
                                   channel_mix);
}

const ModelTranslation translation = {model_parameters, {}};

std::vector<CaseKind> kinds() {
  const auto time_mix = block_runner("time_mix", "rwkv5", time_mix_parameters);
  std::vector<CaseKind> all = {
      case_kind("wkv5", "the WKV operator: r, k, v, w, u [, s0] -> y, s", {2e-6, 3e-6, {}}, run_matrix_state_wkv),
      case_kind("wkv5_long", "the same over several chunks, with heads of 64", {6e-6, 8e-6, {}}, run_matrix_state_wkv),
      case_kind("time_mix", "a time mix of 5.2: x -> y", {5e-6, 3e-5, {}}, time_mix),
      case_kind("time_mix_v50", "the same of 5.0", {4e-6, 6e-5, {}}, time_mix),
      case_kind("time_mix_v51", "the same of 5.1", {4e-6, 6e-5, {}}, time_mix),
      case_kind("channel_mix", "a channel mix: x -> y", {3e-6, 3e-6, {}},
                block_runner("channel_mix", "rwkv5",
                             [](const ReferenceCase& reference) { return hidden_width_parameters(reference); })),
      case_kind("model", "a model: tokens -> logits", {5e-6, 2e-5, {}}, with_translation(run_model, translation)),
      case_kind("model_state", "a model in chunks, from a used state", {4e-6, 2e-5, {}},
                with_translation(run_matrix_state_model, translation)),
      case_kind("init", "initial values that do not depend on chance", {1e-6, 0, {}},
                with_translation(run_initial_values, translation)),
      case_kind("train", "optimiser steps: losses, rates, gradient norms, parameters afterwards",
                {5e-6, 0, {{"loss", 1e-6}}}, with_translation(run_train_steps, translation)),
      case_kind("tiny-trained", "a trained model: tokens -> logits after the last one (absolute error)",
                {2e-5, 0, {}, true}, with_translation(run_trained_model, translation)),
  };
  all.back().tolerance_reason = "the published logits carry float32 rounding of other implementations";
  return all;
}

const RegisterCases registered("rwkv5", kinds());

}  // namespace
}  // namespace rwkvlab
