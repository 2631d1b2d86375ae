// The cases of RWKV-7: what their config keys mean in the project's own terms, the operator, and the tolerances.
//
// Config keys: n_layer, n_embd, vocab_size, head_size, dim_ffn, d_decay_lora, d_aaa_lora, d_mv_lora, d_gate_lora
// (ranks; left out: those of the weights), ln_x_eps, layer_norm_eps, layer_id (of a time mix; 0: no value residual),
// w_mode (of the operator). The unused v0, v1, v2 of the first layer are recognised by their names.
#include <fmt/format.h>

#include <cmath>
#include <map>

#include "autograd/ops/cross_entropy.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/wkv7.h"
#include "base/error.h"
#include "verify/case_registry.h"
#include "verify/systems/model_parameters.h"

namespace rwkvlab {
namespace {

// The rank that the config names, or else that of the first matrix called `suffix`; 0, the rule's, when there is none.
Node rank_of(const ReferenceCase& reference, const char* key, const std::string& suffix) {
  const auto own = reference.parameters.find(suffix);  // of a block
  const Tensor* const found = own != reference.parameters.end() ? &own->second : find_tensor(reference, "." + suffix);
  const std::int64_t stored = found != nullptr && found->shape().rank() == 2 ? found->shape()[1] : 0;
  return Node(reference.config.integer_or(key, stored, stored > 0 ? 1 : 0, most_channels));
}

Node time_mix_parameters(const ReferenceCase& reference) {
  const bool first_layer = reference.mentions("blocks.0.att.v0") || reference.parameters.count("v0") != 0;
  return map_of({{"head_size", Node(reference.config.integer_or("head_size", 64, 1, most_channels))},
                 {"decay_rank", rank_of(reference, "d_decay_lora", "w1")},
                 {"rate_rank", rank_of(reference, "d_aaa_lora", "a1")},
                 {"value_rank", rank_of(reference, "d_mv_lora", "v1")},
                 {"gate_rank", rank_of(reference, "d_gate_lora", "g1")},
                 {"value_residual_in_first_layer", Node(first_layer)},
                 {"group_norm_epsilon", Node(reference.config.number_or("ln_x_eps", 64e-5))}});
}

Node model_parameters(const ReferenceCase& reference) {
  const std::int64_t width = reference.config.integer("n_embd", 1, 65536);
  const Node channel_mix = with_kind("rwkv7", hidden_width_parameters(reference, 4 * width));
  return language_model_parameters(reference, with_kind("rwkv7", time_mix_parameters(reference)), channel_mix,
                                   channel_mix);
}

const ModelTranslation translation = {model_parameters, {}};

void check_state_layout(const CaseRun& run) {
  if (run.config().text_or("state_layout", "value_key").ends_with("value_key")) return;
  throw DataError("'config.state_layout' must be value_key: states are [batch, heads, value channels, key channels]");
}

// The decay of the operator's input `w`.
Var log_decay_of(const CaseRun& run, const Var& w) {
  const std::string mode = run.config().text_or("w_mode", "exp_exp");
  if (mode == "exp_exp") return scale(activation(Activation::exp, w), -1);
  if (mode == "sigmoid") return scale(activation(Activation::sigmoid, w), -std::exp(-0.5));
  throw DataError("'config.w_mode' must be exp_exp (decay exp(-exp(w))) or sigmoid (decay exp(-exp(-1/2) sigmoid(w)))");
}

// in.<name> [batch, time, heads, head_size] as leaves [batch, time, channels], one per chunk.
std::vector<Var> leaves_in_time(CaseRun& run, const std::string& name, const Shape& shape) {
  const Tensor stored = run.real_input(name, 4);
  if (stored.shape() != shape) {
    throw DataError(
        fmt::format("tensor 'in.{}' has shape {}, but 'in.v' {}", name, stored.shape().text(), shape.text()));
  }
  const Tensor x = stored.reshaped({shape[0], shape[1], shape[2] * shape[3]});
  std::vector<Var> chunks;
  for (const auto& [begin, end] : chunk_ranges(run.config(), shape[1])) {
    chunks.push_back(Var::leaf(time_range(x, begin, end)));
  }
  run.set_input(name, joined_in_time(chunks, shape));
  return chunks;
}

// in.r, w, k, v, a, b [batch, time, heads, head_size], in.s0 [batch, heads, head_size, head_size] -> out.y, out.s.
void run_wkv(CaseRun& run) {
  check_state_layout(run);
  const Shape shape = run.real_input("v", 4).shape();
  run.config().agree("batch", shape[0], "'in.v'");
  run.config().agree("seq_len", shape[1], "'in.v'");
  run.config().agree("n_head", shape[2], "'in.v'");
  run.config().agree("head_size", shape[3], "'in.v'");
  const Shape state_shape = {shape[0], shape[2], shape[3], shape[3]};
  // Of the states, one in sixteen is kept for the gradient.
  check_size(static_cast<double>(state_shape.elements()) * (1 + static_cast<double>(shape[1]) / 16), "the kept states");
  std::map<std::string, std::vector<Var>> in;
  for (const char* const name : {"r", "w", "k", "v", "a", "b"}) in[name] = leaves_in_time(run, name, shape);
  Var state = run.reference().inputs.count("s0") != 0 ? run.input("s0", state_shape) : Var();
  std::vector<Var> y;
  for (std::size_t i = 0; i < in["v"].size(); ++i) {
    const Wkv7Inputs inputs = {in["r"][i], log_decay_of(run, in["w"][i]), in["k"][i], in["v"][i], in["a"][i],
                               in["b"][i]};
    const Wkv7Result result = wkv7(inputs, state, shape[2], true);
    y.push_back(result.y);
    state = result.final_state;
    if (i == 0) run.output("mid_s", state);
  }
  run.output("y", joined_in_time(y, shape));
  run.output("s", state);
}

// in.x [, in.v_first] -> out.y; in the first layer out.v_first too.
void run_time_mix(CaseRun& run) {
  MixerSite site;
  site.layers = static_cast<int>(run.config().integer_or("n_layer", 1, 1, 1000));
  site.layer = static_cast<int>(run.config().integer_or("layer_id", 0, 0, site.layers - 1));
  SharedValues shared;
  ForwardContext context;
  context.shared = &shared;
  if (run.reference().inputs.count("v_first") != 0) {
    shared.first_value = run.input("v_first", run.reference().input("x").shape());
  } else if (site.layer > 0) {
    throw DataError("a time mix with 'config.layer_id' above 0 needs 'in.v_first', the first layer's value");
  }
  run_block(run, "time_mix", "rwkv7", time_mix_parameters(run.reference()), site, context);
  run.output("v_first", shared.first_value);
}

Node channel_mix_parameters(const ReferenceCase& reference) {
  return hidden_width_parameters(reference, 4 * reference.input("x").shape()[-1]);
}

void run_state(CaseRun& run) {
  check_state_layout(run);
  run_matrix_state_model(run, translation);
}

// in.logits, in.targets -> out.loss, the cross-entropy times config.loss_scale. The current trainer scales L2Wrap by
// the gradient that reaches the loss, so by loss_scale and the cotangent.
void run_scaled_loss(CaseRun& run) {
  const Var logits = logits_input(run);
  const Tensor targets = run.integer_input("targets", logits.shape().rank() - 1);
  const double factor = run.config().number_or("loss_scale", 1);
  const auto cotangent = run.reference().cotangents.find("loss");
  const double incoming = cotangent != run.reference().cotangents.end() ? cotangent->second.item() : 1;
  const double l2wrap = run.config().number_or("l2wrap_factor", 1e-4) * factor * incoming;
  run.output("loss", scale(cross_entropy(logits, targets, l2wrap).loss, factor));
}

std::vector<CaseKind> kinds() {
  const auto model = with_translation(run_model, translation);
  return {
      case_kind("wkv7", "the delta rule: r, w, k, v, a, b [, s0] -> y, s", {1e-6, 2e-6, {}}, run_wkv),
      case_kind("wkv7_long", "the same over a long sequence", {2e-6, 3e-6, {}}, run_wkv),
      case_kind("time_mix", "a time mix: x, v_first -> y; in the first layer x -> y, v_first", {3e-6, 8e-6, {}},
                run_time_mix),
      case_kind("channel_mix", "a channel mix: x -> y", {2e-6, 3e-6, {}},
                block_runner("channel_mix", "rwkv7", channel_mix_parameters)),
      case_kind("model", "a model: tokens -> logits", {7e-6, 5e-5, {}}, model),
      case_kind("model_state", "a model in chunks, from a used state", {5e-6, 4e-5, {}}, run_state),
      case_kind("loss_l2wrap_scaled", "cross-entropy with L2Wrap on given logits, scaled", {1e-6, 1e-6, {}},
                run_scaled_loss),
      case_kind("init", "initial values that do not depend on chance", {1e-6, 0, {}},
                with_translation(run_initial_values, translation)),
      case_kind("train", "optimiser steps: losses, rates, gradient norms, parameters afterwards (absolute errors)",
                {1e-5, 0, {{"loss", 3e-6}, {"lr", 1e-9}}, true}, with_translation(run_train_steps, translation)),
  };
}

const RegisterCases registered("rwkv7", kinds());

}  // namespace
}  // namespace rwkvlab
