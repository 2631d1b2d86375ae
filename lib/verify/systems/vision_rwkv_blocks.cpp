// The cases of Vision-RWKV's operators and blocks: what their config keys mean in the project's own terms, and the
// tolerances.
//
// Config keys: batch, tokens, channels, height and width (of the grid of tokens), embed_dims, shift_mode (q_shift,
// q_shift_multihead, single_shift, double_shift), shift_pixel (0: no shift), channel_gamma, num_heads, head_size,
// hidden_rate, key_norm, kernel_form (paper_eq5, official_cuda), w_u_already_divided_by_T, time_mix_extra_dim,
// time_decay_extra_dim, with_cls_token.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "autograd/ops/bi_wkv.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/token_shift.h"
#include "base/error.h"
#include "blocks/mixer.h"
#include "config/registry.h"
#include "verify/case_registry.h"
#include "verify/systems/model_parameters.h"

namespace rwkvlab {
namespace {

constexpr std::int64_t most_tokens = 1 << 24;

std::string shift_name(const CaseConfig& config, bool is_v6) {
  if (config.integer_or("shift_pixel", 1, 0, most_tokens) == 0) return "none";
  const std::string mode = config.text_or("shift_mode", is_v6 ? "q_shift_multihead" : "q_shift");
  if (mode == "q_shift") return "q_shift";
  if (mode == "q_shift_multihead") return "q_shift_heads";
  if (mode == "single_shift") return "previous";
  if (mode == "double_shift") return "double";
  throw DataError(
      fmt::format("'config.shift_mode' is '{}'; known: q_shift, q_shift_multihead, single_shift, double_shift",
                  mode.substr(0, 40)));
}

std::vector<std::pair<std::string, Node>> shift_parameters(const CaseConfig& config, bool is_v6) {
  return {{"token_shift", Node(shift_name(config, is_v6))},
          {"shift_pixels", Node(std::max<std::int64_t>(1, config.integer_or("shift_pixel", 1, 0, 1000)))},
          {"channel_gamma", Node(config.number_or("channel_gamma", 0.25))},
          {"head_size", Node(config.integer_or("head_size", 0, 0, most_channels))}};
}

BiWkvForm form_of(const CaseConfig& config) {
  const std::string form = config.text_or("kernel_form", "paper_eq5");
  if (form == "paper_eq5") return BiWkvForm::paper;
  if (form != "official_cuda") {
    throw DataError(fmt::format("'config.kernel_form' is '{}'; known: paper_eq5, official_cuda", form.substr(0, 40)));
  }
  if (config.integer_or("token_split", 32, 1, most_tokens) != 32 || config.number_or("eps", 1e-6) != 1e-6) {
    throw DataError("the published kernels have a token_split of 32 and an eps of 1e-6; 'config' says otherwise");
  }
  return BiWkvForm::official_cuda;
}

const char* mixer_kind(bool is_v6) { return is_v6 ? "vision_rwkv6" : "vision_rwkv"; }

Node time_mix_parameters(const CaseConfig& config, bool is_v6) {
  auto parameters = shift_parameters(config, is_v6);
  parameters.emplace_back("key_norm", Node(config.flag_or("key_norm", false)));
  if (is_v6) {
    parameters.emplace_back("mix_rank", Node(config.integer_or("time_mix_extra_dim", 32, 1, most_channels)));
    parameters.emplace_back("decay_rank", Node(config.integer_or("time_decay_extra_dim", 64, 1, most_channels)));
  } else {
    parameters.emplace_back("kernel_form", Node(form_of(config) == BiWkvForm::paper ? "paper" : "official_cuda"));
  }
  return map_of(parameters);
}

Node channel_mix_parameters(const CaseConfig& config, bool is_v6) {
  auto parameters = shift_parameters(config, is_v6);
  parameters.emplace_back("key_norm", Node(config.flag_or("key_norm", false)));
  parameters.emplace_back("hidden_rate", Node(config.number_or("hidden_rate", 4)));
  return map_of(parameters);
}

// [batch, tokens, channels], as the config says.
Shape sequence_shape(const CaseRun& run, const std::string& name) {
  const Shape shape = run.real_input(name, 3).shape();
  const std::string tensor = "'in." + name + "'";
  run.config().agree("batch", shape[0], tensor);
  run.config().agree("tokens", shape[1], tensor);
  run.config().agree("channels", shape[2], tensor);
  run.config().agree("embed_dims", shape[2], tensor);
  return shape;
}

// in.w, in.u [channels], in.k, in.v [batch, tokens, channels] -> out.y.
void run_bi_wkv(CaseRun& run) {
  const Shape shape = sequence_shape(run, "k");
  Var w = run.input("w", {shape[2]}), u = run.input("u", {shape[2]});
  const Var k = run.input("k", shape), v = run.input("v", shape);
  if (!run.config().flag_or("w_u_already_divided_by_T", true)) {
    w = scale(w, 1.0 / static_cast<double>(shape[1]));
    u = scale(u, 1.0 / static_cast<double>(shape[1]));
  }
  run.output("y", bi_wkv(w, u, k, v, form_of(run.config())));
}

// in.r, in.k, in.v, in.w [batch, tokens, heads · head size], in.u [heads, head size] -> out.y.
void run_bi_wkv6(CaseRun& run) {
  const Shape shape = sequence_shape(run, "k");
  const std::int64_t heads = run.config().integer("heads", 1, most_channels);
  const std::int64_t head_size = run.config().integer("head_size", 1, most_channels);
  if (heads * head_size != shape[2]) {
    throw DataError(fmt::format("'in.k' has {} channels, expected {} heads of {}", shape[2], heads, head_size));
  }
  check_size(static_cast<double>(shape.rows()) * static_cast<double>(shape[2] * head_size), "the states of the heads");
  BiWkv6Inputs inputs;
  inputs.receptance = run.input("r", shape);
  inputs.key = run.input("k", shape);
  inputs.value = run.input("v", shape);
  inputs.decay = run.input("w", shape);
  inputs.bonus = run.input("u", {heads, head_size});
  inputs.head_size = head_size;
  run.output("y", bi_wkv6(inputs));
}

TokenGrid grid_of(const CaseRun& run, const Shape& x) {
  const CaseConfig& config = run.config();
  const TokenGrid grid = {config.integer("height", 1, most_tokens), config.integer("width", 1, most_tokens),
                          config.flag_or("with_cls_token", false) ? 1 : 0};
  if (grid.tokens() != x[1]) {
    throw DataError(fmt::format("'in.x' has {} tokens, but 'config' says {} x {}{}", x[1], grid.rows, grid.columns,
                                grid.extra > 0 ? " and a class token" : ""));
  }
  return grid;
}

// in.x [batch, tokens, channels] -> out.y, or out.single and out.double.
void run_shift(CaseRun& run, const std::string& mode) {
  const Shape shape = sequence_shape(run, "x");
  const Var x = run.input("x", shape);
  const CaseConfig& config = run.config();
  const double gamma = config.number_or("channel_gamma", 0.25);
  if (!(gamma >= 0 && gamma <= 0.25)) throw DataError("'config.channel_gamma' must be between 0 and 0.25");
  const std::int64_t pixels = config.integer_or("shift_pixel", 1, 0, most_tokens);
  if (mode == "shift_1d") {
    run.output("single", shift_tokens(x, TokenShift::previous_token(shape[1], shape[2], pixels)));
    run.output("double", shift_tokens(x, TokenShift::double_shift(shape[1], shape[2], gamma, pixels)));
    return;
  }
  const TokenGrid grid = grid_of(run, shape);
  if (mode == "q_shift") return run.output("y", shift_tokens(x, TokenShift::q_shift(grid, shape[2], gamma, pixels)));
  const std::int64_t size = config.integer("head_size", 1, most_channels);
  if (size % 4 != 0 || shape[2] % size != 0) {
    throw DataError(
        fmt::format("'config.head_size' is {}: expected a multiple of 4 that divides the {} channels", size, shape[2]));
  }
  run.output("y", shift_tokens(x, TokenShift::q_shift_heads(grid, shape[2], shape[2] / size, pixels)));
}

// in.x -> out.y of a mixer on a grid.
void run_mixer(CaseRun& run, const char* slot, bool is_v6, const Node& parameters) {
  const Shape shape = sequence_shape(run, "x");
  const TokenGrid grid = grid_of(run, shape);
  ForwardContext context;
  context.grid = &grid;
  run_block(run, slot, mixer_kind(is_v6), parameters, {}, context);
}

// "fancy.layers.1.att.spatial_decay": the initial values of a mode, "fancy", "local", "global", or of VRWKV6, "v6".
void run_initial_vector(CaseRun& run, const std::string& name) {
  const CaseConfig& config = run.config();
  const auto parts = [&]() -> std::vector<std::string> {
    std::vector<std::string> result(1);
    for (const char c : name) c == '.' && result.size() < 5 ? result.emplace_back() : result.back() += c;
    return result;
  }();
  const bool is_v6 = parts[0] == "v6";
  const bool known = parts.size() == 5 && parts[1] == "layers" && (parts[3] == "att" || parts[3] == "ffn") &&
                     (is_v6 || parts[0] == "fancy" || parts[0] == "local" || parts[0] == "global");
  if (!known) {
    throw DataError(
        fmt::format("tensor 'out.{}': expected <fancy, local, global or v6>.layers.<layer>.<att or "
                    "ffn>.<parameter>",
                    name));
  }
  MixerSite site;
  site.layers = static_cast<int>(config.integer("depth", 1, 1000));
  site.layer = static_cast<int>(std::min<std::size_t>(std::strtoul(parts[2].c_str(), nullptr, 10), 1000));
  site.width = is_v6 ? config.integer("v6_num_heads", 1, 4096) * config.integer("v6_head_size", 1, 4096)
                     : config.integer("embed_dims", 1, 65536);
  const char* const slot = parts[3] == "att" ? "time_mix" : "channel_mix";
  std::vector<std::pair<std::string, Node>> parameters;
  if (is_v6) {
    parameters.emplace_back("head_size", Node(config.integer("v6_head_size", 1, 4096)));
  } else {
    parameters.emplace_back("initial_values", Node(parts[0]));
  }
  const auto mixer =
      make_root(build_kind<Mixer, MixerSite>(slot, make_choice(slot, mixer_kind(is_v6), map_of(parameters)), site));
  mixer->allocate(0, run.precision());
  for (const Parameter* const p : mixer->parameters()) {
    if (p->name == parts[4]) return run.output(name, p->var);
  }
  throw DataError(fmt::format("tensor 'out.{}': {} has no parameter '{}'", name, slot, parts[4]));
}

std::vector<CaseKind> kinds() {
  const auto shift = [](const char* mode) { return [mode](CaseRun& run) { run_shift(run, mode); }; };
  const auto time_mix = [](bool is_v6) {
    return [is_v6](CaseRun& run) { run_mixer(run, "time_mix", is_v6, time_mix_parameters(run.config(), is_v6)); };
  };
  // Numbers are moved; computed are sums of two gradients of shift_1d alone.
  const Tolerances exact = {1e-12, 1e-12, {}};
  std::vector<CaseKind> all = {
      case_kind("bi_wkv", "the Bi-WKV operator: w, u, k, v -> y", {2e-6, 5e-5, {}}, run_bi_wkv),
      case_kind("bi_wkv_official_kernel", "the same as the published GPU kernels compute it", {1e-5, 5e-5, {}},
                run_bi_wkv),
      case_kind("bi_wkv6", "the operator of VRWKV6: r, k, v, w, u -> y", {1e-6, 5e-6, {}}, run_bi_wkv6),
      case_kind("q_shift", "Q-Shift: x -> y", exact, shift("q_shift")),
      case_kind("q_shift_multihead", "Q-Shift in every head, with or without a class token", exact,
                shift("q_shift_multihead")),
      case_kind("shift_1d", "shifts along the sequence: x -> single, double", {1e-12, 2e-7, {}}, shift("shift_1d")),
      case_kind("spatial_mix", "a time mix: x -> y", {2e-6, 1e-5, {}}, time_mix(false)),
      case_kind("spatial_mix_v6", "a time mix of VRWKV6: x -> y", {3e-6, 1e-5, {}}, time_mix(true)),
      case_kind("channel_mix", "a channel mix: x -> y", {2e-6, 5e-6, {}},
                [](CaseRun& run) {
                  const bool is_v6 = run.config().text_or("variant", "vrwkv") == "vrwkv6";
                  run_mixer(run, "channel_mix", is_v6, channel_mix_parameters(run.config(), is_v6));
                }),
      case_kind("init", "initial values that do not depend on chance", {1e-6, 0, {}},
                [](CaseRun& run) {
                  for (const auto& [name, tensor] : run.reference().outputs) run_initial_vector(run, name);
                }),
  };
  for (CaseKind& kind : all) {
    if (kind.name != "spatial_mix") continue;
    kind.tolerances_of = [](const CaseConfig& config) {
      return Tolerances{2e-6, config.flag_or("key_norm", false) ? 1e-5 : 5e-6, {}};
    };
  }
  all.front().tolerance_reason =
      "keys of some tens carry 1e-6 of rounding into the exponents, and where one token outweighs all others gradients "
      "are differences of nearly equal numbers";
  for (CaseKind& kind : all) {
    if (kind.tolerances.output == exact.output) kind.tolerance_reason = "numbers are moved, none is computed";
  }
  return all;
}

const RegisterCases registered("vision_rwkv", kinds());

}  // namespace

}  // namespace rwkvlab
