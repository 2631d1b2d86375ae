// GPT: whole models of attention and MLP with a tied or untied head, and optimiser steps of them.
//
// Config keys: batch, seq_len, vocab_size, hidden_size, num_layers, num_heads, head_size, mlp_size, position,
// rope_base, max_seq_len, tied_embeddings, ln_eps, activation, ignore_index; of the steps also steps, lr, beta1, beta2,
// eps, weight_decay (of matrices) and grad_clip.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "train/optimizer.h"
#include "verify/case_registry.h"
#include "verify/systems/model_parameters.h"
#include "verify/systems/transformer_parameters.h"

namespace rwkvlab {
namespace {

Node model_parameters(const ReferenceCase& reference) {
  const CaseConfig& config = reference.config;
  const std::int64_t width = config.integer("hidden_size", 1, 65536);
  Node attention = attention_parameters(reference, width);
  const bool is_learned = config.text_or("position", "none") == "learned";
  // A model adds learned positions once, before its first layer.
  if (is_learned) *attention.find("positions") = Node("none");
  return map_of({{"layers", Node(config.integer("num_layers", 1, 1000))},
                 {"width", Node(width)},
                 {"vocabulary_size", Node(config.integer("vocab_size", 1, most_channels * 16))},
                 {"time_mix", with_kind("attention", std::move(attention))},
                 {"channel_mix", with_kind("gelu_mlp", gelu_mlp_parameters(reference, width))},
                 {"layer_norm_epsilon", Node(config.number_or("ln_eps", 1e-5))},
                 {"embedding_norm", Node(false)},
                 {"positions", Node(is_learned ? "learned" : "none")},
                 {"max_length", Node(config.integer_or("max_seq_len", 1024, 1, 1 << 20))},
                 {"tied_head", Node(config.flag_or("tied_embeddings", false))}});
}

std::unique_ptr<LanguageModel> load_model(CaseRun& run) {
  auto model = make_case_model(run.reference(), {model_parameters, {}});
  run.load(*model, transformer_case_name);
  return model;
}

// Targets with the file's word for "does not count" in ours.
Tensor read_targets(const CaseRun& run, int rank) {
  const Tensor targets = run.integer_input("targets", rank);
  const std::int64_t ignored = run.config().integer_or("ignore_index", -100, -1'000'000, -1);
  for (std::int64_t& target : targets.span<std::int64_t>()) {
    if (target == ignored) target = kernels::ignored_target;
  }
  return targets;
}

void check_tokens(const CaseRun& run, const LanguageModel& model, const Shape& tokens) {
  run.config().agree("batch", tokens[-2], "'in.tokens'");
  run.config().agree("seq_len", tokens[-1], "'in.tokens'");
  const std::int64_t widest = std::max({model.vocabulary(), model.params().width, tokens[-1]});
  check_size(static_cast<double>(tokens[-2] * tokens[-1]) * static_cast<double>(widest), "an activation of the model");
}

// in.tokens [batch, time] [, in.targets] -> out.logits [, out.loss]
void run_gpt(CaseRun& run) {
  const auto model = load_model(run);
  const Tensor tokens = run.integer_input("tokens", 2);
  check_tokens(run, *model, tokens.shape());
  const Var logits = model->logits(tokens, {});
  run.output("logits", logits);
  if (run.reference().inputs.count("targets") == 0) return;
  run.output("loss", cross_entropy(logits, read_targets(run, 2)).loss);
}

AdamWParams read_adam(const CaseConfig& config) {
  AdamWParams params;
  params.beta1 = config.number_or("beta1", 0.9);
  params.beta2 = config.number_or("beta2", 0.999);
  params.epsilon = config.number_or("eps", 1e-8);
  params.weight_decay = config.number_or("weight_decay", 0);
  const auto in_unit = [](double x) { return x >= 0 && x < 1; };
  if (!in_unit(params.beta1) || !in_unit(params.beta2) || !(params.epsilon > 0) || !(params.weight_decay >= 0)) {
    throw DataError("'config': beta1 and beta2 must lie in [0, 1), eps above 0 and weight_decay at 0 or above");
  }
  return params;
}

// in.tokens, in.targets [steps, batch, time] -> out.losses, out.grad_norms [steps], out.final.<parameter>
void run_gpt_train_steps(CaseRun& run) {
  const auto model = load_model(run);
  const Tensor tokens = run.integer_input("tokens", 3), targets = read_targets(run, 3);
  if (tokens.shape() != targets.shape()) {
    throw DataError(
        fmt::format("'in.tokens' has shape {}, 'in.targets' {}", tokens.shape().text(), targets.shape().text()));
  }
  const std::int64_t steps = tokens.shape()[0];
  run.config().agree("steps", steps, "'in.tokens'");
  check_tokens(run, *model, tokens.shape());
  const double rate = run.config().number("lr"), clip = run.config().number_or("grad_clip", 0);
  const std::vector<TrainedParameter> parameters = trained_parameters(*model, {});
  const std::unique_ptr<Optimizer> optimizer = make_adamw(read_adam(run.config()), parameters);
  const auto at = [&](const Tensor& all, std::int64_t step) {
    return all.rows(step, step + 1).reshaped({all.shape()[1], all.shape()[2]});
  };
  std::vector<double> losses, norms;
  for (std::int64_t step = 0; step < steps; ++step) {
    Tape tape;
    const Var loss = model->loss(at(tokens, step), at(targets, step), 0, {}).loss;
    losses.push_back(loss.value().item());
    tape.backward(loss);
    norms.push_back(gradient_norm(parameters));
    optimizer->step({rate, 0, clip_factor(norms.back(), clip)});
    clear_gradients(parameters);
  }
  run.output("losses", {steps}, losses);
  run.output("grad_norms", {steps}, norms);
  for (const Parameter* const p : model->parameters()) run.output("final." + transformer_case_name(p->name), p->var);
}

const RegisterCases registered(
    "baselines", {case_kind("gpt", "a GPT: tokens [, targets] -> logits [, loss]", {4e-6, 1e-5, {}}, run_gpt),
                  case_kind("gpt_train_steps", "AdamW steps of a GPT: losses, gradient norms, parameters afterwards",
                            {2e-4, 0, {{"losses", 1e-6}, {"grad_norms", 1e-6}}}, run_gpt_train_steps)});

}  // namespace
}  // namespace rwkvlab
