#include "verify/systems/transformer_parameters.h"

#include <fmt/format.h>

#include <cmath>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "verify/systems/model_parameters.h"

namespace rwkvlab {
namespace {

std::int64_t head_size_of(const CaseConfig& config, std::int64_t width) {
  if (!config.has("num_heads")) return config.integer("head_size", 1, most_channels);
  const std::int64_t heads = config.integer("num_heads", 1, most_channels);
  if (width % heads != 0) {
    throw DataError(fmt::format("'config.num_heads' is {}, which does not divide the {} channels", heads, width));
  }
  config.agree("head_size", width / heads, "the heads");
  return width / heads;
}

}  // namespace

Node attention_parameters(const ReferenceCase& reference, std::int64_t width) {
  const CaseConfig& config = reference.config;
  const std::int64_t head_size = head_size_of(config, width);
  if (!config.flag_or("causal", true)) throw DataError("'config.causal' must be true");
  const double scale = 1 / std::sqrt(static_cast<double>(head_size));
  if (std::fabs(config.number_or("scale", scale) - scale) > 1e-6 * scale) {
    throw DataError(fmt::format("'config.scale' must be 1 / sqrt(head_size) = {}", scale));
  }
  return map_of({{"head_size", Node(head_size)},
                 {"positions", Node(config.text_or("position", "none"))},
                 {"rotary_base", Node(config.number_or("rope_base", 10000))},
                 {"max_length", Node(config.integer_or("max_seq_len", 1024, 1, 1 << 20))},
                 {"bias", Node(reference.mentions("q_proj.bias"))}});
}

Node gelu_mlp_parameters(const ReferenceCase& reference, std::int64_t width) {
  const std::string activation = reference.config.text_or("activation", "gelu_tanh");
  if (activation != "gelu_tanh") {
    throw DataError(fmt::format("'config.activation' is '{}', expected gelu_tanh", activation));
  }
  return map_of({{"hidden_width", Node(reference.config.integer_or("mlp_size", 4 * width, 1, most_channels))}});
}

std::string transformer_case_name(const std::string& own) {
  // The first that fits each part of the name, between dots; a part of a layer's MLP is told from attention's by the
  // part before it.
  static const std::pair<std::string_view, std::string_view> everywhere[] = {
      {"att", "attn"},    {"ffn", "mlp"},      {"ln1", "ln_1"},     {"ln2", "ln_2"},     {"emb", "wte"},
      {"ln_out", "ln_f"}, {"head", "lm_head"}, {"query", "q_proj"}, {"output", "o_proj"}};
  std::string result, before;
  for (std::size_t begin = 0; begin <= own.size();) {
    const std::size_t end = std::min(own.find('.', begin), own.size());
    const std::string part = own.substr(begin, end - begin);
    std::string name = part;
    for (const auto& [ours, theirs] : everywhere) {
      if (part == ours) name = theirs;
    }
    if (part == "key") name = before == "ffn" ? "fc" : "k_proj";
    if (part == "value") name = before == "ffn" ? "proj" : "v_proj";
    // A table of attention is a parameter of its own, one of a model a module with a weight.
    if (part == "positions") name = end == own.size() ? "pos_emb.weight" : "wpe";
    if (part == "position_bias") name = "pos_bias";
    result += (begin > 0 ? "." : "") + name;
    before = part;
    begin = end + 1;
  }
  return result;
}

}  // namespace rwkvlab
