// Baselines that look back over all tokens or carry a vector: softmax attention, AFT, LSTM, GRU, and the Transformer's
// block. (The mixers with a matrix-valued state are in another file.)
//
// Config keys: batch, seq_len, hidden_size, num_heads, head_size, position, rope_base, max_seq_len, attention_size,
// input_size, num_layers (1), batch_first (true), mlp_size, ln_eps, activation (gelu_tanh); split_at cuts the sequence
// into chunks between which the state is carried.
#include <fmt/format.h>

#include <cmath>

#include "autograd/ops/linear.h"
#include "autograd/ops/recurrent.h"
#include "autograd/ops/token_shift.h"
#include "base/error.h"
#include "blocks/mixer.h"
#include "config/registry.h"
#include "models/residual_layer.h"
#include "verify/case_registry.h"
#include "verify/systems/model_parameters.h"
#include "verify/systems/transformer_parameters.h"

namespace rwkvlab {
namespace {

// in.x [batch, time, channels] as one leaf per chunk.
std::vector<Var> chunks_of_x(CaseRun& run, const char* channels_key) {
  const Tensor x = run.real_input("x", 3);
  run.config().agree("batch", x.shape()[0], "'in.x'");
  run.config().agree("seq_len", x.shape()[1], "'in.x'");
  run.config().agree(channels_key, x.shape()[2], "'in.x'");
  std::vector<Var> chunks;
  for (const auto& [begin, end] : chunk_ranges(run.config(), x.shape()[1])) {
    chunks.push_back(Var::leaf(time_range(x, begin, end)));
  }
  run.set_input("x", joined_in_time(chunks, x.shape()));
  return chunks;
}

// What a module makes of each chunk, going on from the state of the one before.
template <class Forward>
void run_chunks(CaseRun& run, const Module& module, const std::vector<Var>& chunks, Forward&& forward) {
  const Tensor x = run.real_input("x", 3);
  const double rows = static_cast<double>(x.shape().rows());
  double widest = static_cast<double>(x.shape()[1]);
  for (const Parameter* const p : module.parameters()) widest = std::max(widest, static_cast<double>(p->shape[0]));
  check_size(rows * widest, "an activation of the block");
  std::vector<Var> y;
  State before;
  for (const Var& chunk : chunks) {
    State after;
    ForwardContext context;
    if (!before.empty()) context.state_in = &before;
    if (chunks.size() > 1) context.state_out = &after;
    y.push_back(forward(chunk, context));
    before = std::move(after);
  }
  run.output("y", joined_in_time(y, x.shape()));
}

void run_mixer(CaseRun& run, const char* kind, const Node& parameters, const std::vector<Var>& chunks) {
  MixerSite site;
  site.width = chunks.front().shape()[2];
  const auto mixer =
      make_root(build_kind<Mixer, MixerSite>("time_mix", make_choice("time_mix", kind, parameters), site));
  run.load(*mixer, transformer_case_name);
  run_chunks(run, *mixer, chunks,
             [&](const Var& x, const ForwardContext& context) { return mixer->forward(x, context); });
}

// in.x -> out.y
void run_attention(CaseRun& run) {
  const std::vector<Var> chunks = chunks_of_x(run, "hidden_size");
  run_mixer(run, "attention", attention_parameters(run.reference(), chunks.front().shape()[2]), chunks);
}

void run_aft(CaseRun& run, const char* kind) {
  const std::vector<Var> chunks = chunks_of_x(run, "hidden_size");
  if (!run.config().flag_or("causal", true)) throw DataError("'config.causal' must be true");
  const std::int64_t width = chunks.front().shape()[2];
  std::vector<std::pair<std::string, Node>> parameters = {
      {"attention_width", Node(run.config().integer_or("attention_size", width, 1, most_channels))}};
  if (std::string(kind) == "aft_full") {
    const std::int64_t stored = run.reference().parameter("pos_bias").shape()[0];
    parameters.emplace_back("max_length", Node(run.config().integer_or("max_seq_len", stored, 1, 8192)));
  }
  run_mixer(run, kind, map_of(parameters), chunks);
}

// in.x -> out.y
void run_transformer_block(CaseRun& run) {
  const std::vector<Var> chunks = chunks_of_x(run, "hidden_size");
  ResidualLayerSite where;
  where.site.width = chunks.front().shape()[2];
  where.layer_norm_epsilon = run.config().number_or("ln_eps", 1e-5);
  const auto build = [&](const char* slot, const char* kind, const Node& parameters) {
    return build_kind<Mixer, MixerSite>(slot, make_choice(slot, kind, parameters), where.site);
  };
  const auto layer = make_root(std::make_unique<ResidualLayer>(
      where, "att", build("time_mix", "attention", attention_parameters(run.reference(), where.site.width)),
      build("channel_mix", "gelu_mlp", gelu_mlp_parameters(run.reference(), where.site.width))));
  run.load(*layer, transformer_case_name);
  run_chunks(run, *layer, chunks,
             [&](const Var& x, const ForwardContext& context) { return layer->forward(x, {}, context); });
}

// in.h0 or in.c0 [1, batch, channels]; left out: 0.
Var start(CaseRun& run, const char* name, std::int64_t batch, std::int64_t channels) {
  return run.reference().inputs.count(name) != 0 ? run.input(name, {batch, channels}) : Var();
}

// in.x, in.h0 [, in.c0] -> out.y, out.hn [, out.cn]
void run_recurrent(CaseRun& run, std::int64_t blocks) {
  if (run.config().integer_or("num_layers", 1, 1, 1000) != 1 || !run.config().flag_or("batch_first", true)) {
    throw DataError("'config.num_layers' must be 1 and 'config.batch_first' true");
  }
  const std::vector<Var> chunks = chunks_of_x(run, "input_size");
  const std::int64_t batch = chunks.front().shape()[0], inputs = chunks.front().shape()[2];
  const Shape& stored = run.reference().parameter("weight_hh_l0").shape();
  const std::int64_t channels = stored[-1], width = blocks * channels;
  run.config().agree("hidden_size", channels, "'param.weight_hh_l0'");
  const Var weight_ih = run.parameter("weight_ih_l0", {width, inputs}), bias_ih = run.parameter("bias_ih_l0", {width});
  const Var weight_hh = run.parameter("weight_hh_l0", {width, channels}),
            bias_hh = run.parameter("bias_hh_l0", {width});
  Var hidden = start(run, "h0", batch, channels), memory = blocks == 4 ? start(run, "c0", batch, channels) : Var();
  std::vector<Var> y;
  std::int64_t time = 0;
  for (const Var& x : chunks) {
    const Var input = linear(x, weight_ih, bias_ih);
    if (blocks == 4) {
      const LstmResult result = lstm(input, weight_hh, bias_hh, hidden, memory);
      y.push_back(result.y);
      memory = last_token(result.memories);
    } else {
      y.push_back(gru(input, weight_hh, bias_hh, hidden));
    }
    hidden = last_token(y.back());
    time += x.shape()[1];
  }
  run.output("y", joined_in_time(y, {batch, time, channels}));
  run.output("hn", hidden);
  if (blocks == 4) run.output("cn", memory);
}

std::vector<CaseKind> kinds() {
  const std::string margin = "about 8 times the rounding of float32 in this computation";
  const auto kind = [&](const char* name, const char* summary, Tolerances tolerances,
                        std::function<void(CaseRun&)> run) {
    return CaseKind{name, summary, std::move(tolerances), margin, std::move(run)};
  };
  return {
      kind("lstm", "an LSTM: x, h0, c0 -> y, hn, cn", {2e-6, 3e-6, {}}, [](CaseRun& run) { run_recurrent(run, 4); }),
      kind("gru", "a GRU: x, h0 -> y, hn", {2e-6, 2e-6, {}}, [](CaseRun& run) { run_recurrent(run, 3); }),
      kind("attention", "softmax attention with any positions: x -> y", {4e-6, 6e-6, {}}, run_attention),
      kind("aft_full", "AFT with biases for pairs of positions: x -> y", {2e-6, 5e-6, {}},
           [](CaseRun& run) { run_aft(run, "aft_full"); }),
      kind("aft_simple", "AFT without biases: x -> y", {2e-6, 5e-6, {}},
           [](CaseRun& run) { run_aft(run, "aft_simple"); }),
      kind("transformer_block", "norms, attention and MLP: x -> y", {3e-6, 8e-6, {}}, run_transformer_block),
  };
}

const RegisterCases registered("baselines", kinds());

}  // namespace
}  // namespace rwkvlab
