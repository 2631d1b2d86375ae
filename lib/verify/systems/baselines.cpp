// The cases of the mixers with a matrix-valued state that RWKV is compared with: kernels and layers.
//
// Config keys: num_heads, head_k_dim, head_v_dim; of ssd num_groups, head_size, state_size; scale (of the queries; left
// out: head_k_dim^(-1/2)), eps, norm_eps, l2_eps, qk_norm (l2, none), gamma (what the heads of a retention layer decay
// by: checked), gate_low_rank_dim, gate_logit_normalizer. The files have states as [batch, heads, keys, values], and
// those of ssd as [batch, heads, head size, state size].
#include <fmt/format.h>

#include <cmath>

#include "autograd/ops/channels.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/heads.h"
#include "autograd/ops/linear_attention.h"
#include "autograd/ops/rms_norm.h"
#include "autograd/ops/wkv7.h"
#include "base/error.h"
#include "verify/case_registry.h"
#include "verify/systems/model_parameters.h"
#include "verify/systems/state_layout.h"

namespace rwkvlab {
namespace {

// [batch, time, heads, channels of a head]
Shape heads_of(const CaseRun& run, const std::string& name) {
  const Shape shape = run.reference().input(name).shape();
  if (shape.rank() == 4) return shape;
  throw DataError(fmt::format("tensor 'in.{}' has shape {}, expected [batch, time, heads, channels of a head]", name,
                              shape.text()));
}

// The sizes of a case, from its keys and values.
struct Sizes {
  std::int64_t batch, time, heads, keys, values;

  Sizes(const CaseRun& run, const std::string& key, const std::string& value)
      : batch(heads_of(run, value)[0]),
        time(heads_of(run, value)[1]),
        heads(heads_of(run, value)[2]),
        keys(heads_of(run, key)[3]),
        values(heads_of(run, value)[3]) {
    run.config().agree("batch", batch, "'in." + value + "'");
    run.config().agree("seq_len", time, "'in." + value + "'");
    run.config().agree("num_heads", heads, "'in." + value + "'");
    run.config().agree("head_k_dim", keys, "'in." + key + "'");
    run.config().agree("head_v_dim", values, "'in." + value + "'");
    // Of the states, one in sixteen is kept for the gradient.
    check_size(static_cast<double>(state().elements()) * (1 + static_cast<double>(time) / 16), "the kept states");
  }
  Shape state() const { return {batch, heads, keys, values}; }
};

// in.<name> [batch, time, heads, size] as a leaf [batch, time, heads * size]; of size 0: [batch, time, heads].
Var sequence(CaseRun& run, const std::string& name, const Sizes& s, std::int64_t heads, std::int64_t size) {
  if (size == 0) return run.input(name, {s.batch, s.time, heads});
  return reshaped_input(run, name, {s.batch, s.time, heads, size}, {s.batch, s.time, heads * size});
}
Var keys(CaseRun& run, const std::string& name, const Sizes& s) { return sequence(run, name, s, s.heads, s.keys); }
Var values(CaseRun& run, const std::string& name, const Sizes& s) { return sequence(run, name, s, s.heads, s.values); }

bool has_input(const CaseRun& run, const std::string& name) { return run.reference().inputs.count(name) != 0; }

Var initial_state(CaseRun& run, const Sizes& s) {
  return has_input(run, "state") ? operator_state(run.input("state", s.state())) : Var();
}

void output_sequence(CaseRun& run, const Sizes& s, const Var& y) {
  run.output("y", {{s.batch, s.time, s.heads, s.values}, {{y, 0, 0, y.value().elements()}}});
}

void finish(CaseRun& run, const Sizes& s, const Wkv7Inputs& inputs) {
  const Wkv7Result result = wkv7(inputs, initial_state(run, s), s.heads, true);
  output_sequence(run, s, result.y);
  run.output("state", file_state(result.final_state, s.values).first);
}

double query_scale(const CaseRun& run, const Sizes& s) {
  return run.config().number_or("scale", 1 / std::sqrt(static_cast<double>(s.keys)));
}

Var features(const Var& x) { return activation(Activation::elu_plus_one, x); }

// in.q, k, v [, state, state_z] -> out.y, out.state, out.state_z.
void run_linear_attention_kernel(CaseRun& run) {
  const Sizes s(run, "q", "v");
  const Shape sums = {s.batch, s.heads, s.keys};
  LinearAttentionInputs inputs = {features(keys(run, "q", s)), features(keys(run, "k", s)), values(run, "v", s), {}};
  if (has_input(run, "state") != has_input(run, "state_z")) {
    throw DataError("a linear attention needs both of 'in.state' and 'in.state_z', or neither");
  }
  if (has_input(run, "state")) {
    const Var state = run.input("state", s.state());
    inputs.state = operator_state(state, run.input("state_z", sums));
  }
  const auto [y, final_state] = linear_attention(inputs, s.heads, run.config().number_or("eps", 1e-6), true);
  output_sequence(run, s, y);
  const auto [state, state_sums] = file_state(final_state, s.values);
  run.output("state", state);
  run.output("state_z", state_sums);
}

// in.q, k, v, gamma [heads] [, state] -> out.y, out.state.
void run_retention_kernel(CaseRun& run) {
  const Sizes s(run, "q", "v");
  const Tensor gamma = run.real_input("gamma", 1);
  if (gamma.elements() != s.heads) {
    throw DataError(fmt::format("tensor 'in.gamma' has shape {}, expected [{}]", gamma.shape().text(), s.heads));
  }
  const Var decay = repeat_rows(repeat_heads(log_of(Var(gamma.reshaped({1, s.heads}))), s.keys), s.batch, s.time);
  const Var query = scale(keys(run, "q", s), query_scale(run, s));
  finish(run, s, {query, decay, keys(run, "k", s), values(run, "v", s), {}, {}});
}

// in.q, k, v, gk (log decays, like k) [, state] -> out.y, out.state.
void run_gla_kernel(CaseRun& run) {
  const Sizes s(run, "q", "v");
  const Var query = scale(keys(run, "q", s), query_scale(run, s));
  finish(run, s, {query, keys(run, "gk", s), keys(run, "k", s), values(run, "v", s), {}, {}});
}

// in.q, k, v, beta [batch, time, heads] [, state] -> out.y, out.state.
void run_delta_rule(CaseRun& run) {
  const Sizes s(run, "q", "v");
  const std::string norm = run.config().text_or("qk_norm", "l2");
  if (norm != "l2" && norm != "none") throw DataError("'config.qk_norm' must be l2 or none");
  const double epsilon = run.config().number_or("l2_eps", 1e-6), factor = query_scale(run, s);
  Var query = keys(run, "q", s), key = keys(run, "k", s);
  query = norm == "l2" ? l2_norm(query, s.heads, epsilon, factor) : scale(query, factor);
  if (norm == "l2") key = l2_norm(key, s.heads, epsilon);
  const Var written = multiply(repeat_heads(sequence(run, "beta", s, s.heads, 0), s.keys), key);
  finish(run, s, {query, {}, written, values(run, "v", s), scale(key, -1), written});
}

// in.x [batch, time, heads, head size], in.a [batch, time, heads], in.b, in.c [batch, time, groups, state size]
// [, state] -> out.y, out.state.
void run_ssd(CaseRun& run) {
  const Sizes s(run, "b", "x");
  const std::int64_t groups = heads_of(run, "b")[2];
  run.config().agree("num_groups", groups, "'in.b'");
  run.config().agree("state_size", s.keys, "'in.b'");
  run.config().agree("head_size", s.values, "'in.x'");
  if (groups < 1 || s.heads % groups != 0) {
    throw DataError(fmt::format("tensor 'in.b' has {} groups, which do not divide the {} heads", groups, s.heads));
  }
  const auto shared = [&](const char* name) {
    return repeat_groups(sequence(run, name, s, groups, s.keys), groups, s.heads / groups);
  };
  const Var decay = repeat_heads(log_of(sequence(run, "a", s, s.heads, 0)), s.keys);
  const Wkv7Inputs inputs = {shared("c"), decay, shared("b"), values(run, "x", s), {}, {}};
  Var state;
  if (has_input(run, "state")) state = run.input("state", {s.batch, s.heads, s.values, s.keys});
  const Wkv7Result result = wkv7(inputs, state, s.heads, true);
  output_sequence(run, s, result.y);
  run.output("state", result.final_state);
}

// The sizes of a layer's heads.
Node head_parameters(const ReferenceCase& reference, const std::vector<std::pair<std::string, Node>>& more) {
  const CaseConfig& config = reference.config;
  Node parameters = map_of({{"heads", Node(config.integer("num_heads", 1, most_channels))},
                            {"key_size", Node(config.integer_or("head_k_dim", 0, 1, most_channels))},
                            {"value_size", Node(config.integer_or("head_v_dim", 0, 1, most_channels))}});
  for (const auto& [key, value] : more) parameters.insert(key, value);
  return parameters;
}

// in.x [, state] -> out.y, out.state.
void run_layer(CaseRun& run, const std::string& kind, const Node& parameters) {
  run.config().agree("hidden_size", run.reference().input("x").shape()[-1], "'in.x'");
  State start, end;
  ForwardContext context;
  std::int64_t head_values = 0;
  if (has_input(run, "state")) {
    const Var state = run.input("state");
    if (state.shape().rank() != 4) {
      throw DataError(
          fmt::format("tensor 'in.state' has shape {}, expected [batch, heads, keys, values]", state.shape().text()));
    }
    head_values = state.shape()[3];
    start.set("wkv", operator_state(state));
    context.state_in = &start;
    context.state_out = &end;
  }
  run_block(run, "time_mix", kind, parameters, {}, context);
  if (head_values > 0) run.output("state", file_state(*end.find("wkv"), head_values).first);
}

void run_linear_attention(CaseRun& run) {
  const CaseConfig& config = run.config();
  run_layer(run, "linear_attention",
            head_parameters(run.reference(), {{"epsilon", Node(config.number_or("eps", 1e-6))}}));
}

void run_retention(CaseRun& run) {
  const CaseConfig& config = run.config();
  if (config.has("gamma")) {
    const std::vector<double> gamma = config.numbers("gamma");
    for (std::size_t h = 0; h < gamma.size(); ++h) {
      if (std::abs(gamma[h] - (1 - std::exp2(-5.0 - static_cast<double>(h)))) > 1e-7) {
        throw DataError(fmt::format("'config.gamma' has {} for head {}, expected 1 - 2^(-5-{})", gamma[h], h, h));
      }
    }
  }
  if (config.flag_or("xpos", false)) throw DataError("'config.xpos' must be false: retention has no rotation here");
  run_layer(run, "retention",
            head_parameters(run.reference(), {{"norm_epsilon", Node(config.number_or("norm_eps", 1e-5))}}));
}

void run_gla(CaseRun& run) {
  const CaseConfig& config = run.config();
  run_layer(run, "gated_linear_attention",
            head_parameters(run.reference(),
                            {{"gate_rank", Node(config.integer_or("gate_low_rank_dim", 16, 1, most_channels))},
                             {"gate_normalizer", Node(config.number_or("gate_logit_normalizer", 16))},
                             {"norm_epsilon", Node(config.number_or("norm_eps", 1e-5))}}));
}

const RegisterCases registered(
    "baselines",
    {
        case_kind("linear_attention_kernel", "linear attention: q, k, v [, state, state_z] -> y, state, state_z",
                  {2e-6, 4e-6, {}}, run_linear_attention_kernel),
        case_kind("linear_attention", "its layer: x -> y", {2e-6, 4e-6, {}}, run_linear_attention),
        case_kind("retention_kernel", "retention: q, k, v, gamma [, state] -> y, state", {2e-6, 2e-6, {}},
                  run_retention_kernel),
        case_kind("retention", "its layer: x [, state] -> y, state", {3e-6, 5e-6, {}}, run_retention),
        case_kind("gla_kernel", "gated linear attention: q, k, v, gk [, state] -> y, state", {2e-6, 6e-6, {}},
                  run_gla_kernel),
        case_kind("gla", "its layer: x [, state] -> y, state", {4e-6, 6e-6, {}}, run_gla),
        case_kind("ssd", "a state space with one decay per head: x, a, b, c [, state] -> y, state", {3e-6, 1.5e-5, {}},
                  run_ssd),
        case_kind("delta_rule", "the delta rule: q, k, v, beta [, state] -> y, state", {3e-6, 4e-6, {}},
                  run_delta_rule),
    });

}  // namespace
}  // namespace rwkvlab
