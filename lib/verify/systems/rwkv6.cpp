// The cases of RWKV-6: what their config keys mean in the project's own terms, and the tolerances.
//
// Config keys: n_layer, n_embd, vocab_size, dim_att, dim_ffn, head_size, head_size_divisor, d_mix_lora, d_decay_lora,
// d_gate_lora, layer_norm_eps. The variants x060a, x060b and x060_state are recognised by their parameters, as in
// checkpoints; x060c by the name of the case.
#include "verify/case_registry.h"
#include "verify/systems/model_parameters.h"

namespace rwkvlab {
namespace {

Node time_mix_parameters(const ReferenceCase& reference) {
  const CaseConfig& config = reference.config;
  // Cases of initial values list only what does not depend on chance; they are of the full model.
  const bool full = reference.parameters.empty();
  const bool low_rank = reference.mentions("gate_w1"), gated = low_rank || reference.mentions("time_maa_g");
  const bool shift = full || reference.mentions("time_maa_rkvw_w1") || reference.mentions("time_maa_w1");
  const auto rank = [&](const char* key, std::int64_t standard) {
    return Node(config.integer_or(key, standard, 1, most_channels));
  };
  return map_of({{"head_size", Node(config.integer_or("head_size", 0, 0, most_channels))},
                 {"attention_width", Node(config.integer_or("dim_att", 0, 0, most_channels))},
                 {"head_size_divisor", Node(config.number_or("head_size_divisor", 8))},
                 {"normalization", Node(gated ? "group_norm" : "layer_norm")},
                 {"token_shift", Node(shift ? "data_dependent" : "static")},
                 {"mix_rank", rank("d_mix_lora", 32)},
                 {"decay", Node(full || reference.mentions("time_decay_w1") ? "data_dependent" : "learned")},
                 {"decay_rank", rank("d_decay_lora", 64)},
                 {"gate", Node(low_rank ? "low_rank"
                               : gated  ? "silu"
                                        : "none")},
                 {"gate_rank", rank("d_gate_lora", 64)},
                 {"key_scale", Node(reference.name.find("x060c") != std::string::npos ? "forgotten" : "none")},
                 {"learned_state", Node(reference.mentions("time_state"))}});
}

Node model_parameters(const ReferenceCase& reference) {
  const Node channel_mix = with_kind("rwkv6", hidden_width_parameters(reference));
  return language_model_parameters(reference, with_kind("rwkv6", time_mix_parameters(reference)), channel_mix,
                                   channel_mix);
}

const ModelTranslation translation = {model_parameters, {}};

std::vector<CaseKind> kinds() {
  const auto time_mix = block_runner("time_mix", "rwkv6", time_mix_parameters);
  const auto model = with_translation(run_model, translation);
  return {
      case_kind("wkv6", "the WKV operator: r, k, v, w, u [, s0] -> y, s", {2e-6, 2e-6, {}}, run_matrix_state_wkv),
      case_kind("wkv6_long", "the same over several chunks, with heads of 64", {4e-6, 3e-6, {}}, run_matrix_state_wkv),
      case_kind("wkv6_strong_decay", "the same with decays from none to all", {2e-6, 3e-6, {}}, run_matrix_state_wkv),
      case_kind("time_mix", "a time mix: x -> y; by its parameters x060, x060a or x060b", {4e-6, 8e-6, {}}, time_mix),
      case_kind("channel_mix", "a channel mix: x -> y", {3e-6, 4e-6, {}},
                block_runner("channel_mix", "rwkv6",
                             [](const ReferenceCase& reference) { return hidden_width_parameters(reference); })),
      case_kind("model", "a model: tokens -> logits", {6e-6, 3e-5, {}}, model),
      case_kind("model_h64", "the same with heads of 64", {7e-6, 4e-5, {}}, model),
      case_kind("model_state", "a model in chunks, from a used state", {5e-6, 2e-5, {}},
                with_translation(run_matrix_state_model, translation)),
      case_kind("model_time_state", "a model that starts from a learned state", {5e-6, 3e-5, {}}, model),
      case_kind("loss_l2wrap", "cross-entropy with L2Wrap on given logits", {1e-6, 1e-6, {}}, run_loss),
      case_kind("init", "initial values that do not depend on chance", {1e-6, 0, {}},
                with_translation(run_initial_values, translation)),
      case_kind("train", "optimiser steps: losses, rates, gradient norms, parameters afterwards",
                {5e-6, 0, {{"loss", 1e-6}}}, with_translation(run_train_steps, translation)),
  };
}

const RegisterCases registered("rwkv6", kinds());

}  // namespace
}  // namespace rwkvlab
