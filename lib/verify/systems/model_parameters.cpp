#include "verify/systems/model_parameters.h"

#include <fmt/format.h>

#include "autograd/ops/wkv6.h"
#include "base/error.h"

namespace rwkvlab {

Node map_of(const std::vector<std::pair<std::string, Node>>& entries) {
  Node map{Node::Map{}};
  for (const auto& [key, value] : entries) map.insert(key, value);
  return map;
}

Node with_kind(const std::string& kind, Node parameters) {
  parameters.insert("kind", Node(kind));
  return parameters;
}

const Tensor* find_tensor(const ReferenceCase& reference, const std::string& suffix) {
  for (const TensorMap* const tensors : {&reference.parameters, &reference.outputs}) {
    for (const auto& [name, tensor] : *tensors) {
      if (name.ends_with(suffix)) return &tensor;
    }
  }
  return nullptr;
}

Node language_model_parameters(const ReferenceCase& reference, Node time_mix, Node channel_mix,
                               Node plain_channel_mix) {
  const CaseConfig& config = reference.config;
  const std::int64_t width = config.integer("n_embd", 1, 65536), layers = config.integer("n_layer", 1, 1000);
  Node model = map_of({{"layers", Node(layers)},
                       {"width", Node(width)},
                       {"vocabulary_size", Node(config.integer_or("vocab_size", 1, 1, most_channels * 16))},
                       {"time_mix", std::move(time_mix)},
                       {"channel_mix", std::move(channel_mix)},
                       {"layer_norm_epsilon", Node(config.number_or("layer_norm_eps", 1e-5))},
                       {"copy_head", Node(config.integer_or("head_qk", 0, 0, most_channels))}});
  if (config.flag_or("pre_ffn", false)) model.insert("pre_ffn", std::move(plain_channel_mix));
  const std::int64_t tiny = config.integer_or("tiny_att_dim", 0, 0, most_channels);
  const std::int64_t tiny_layer = config.integer_or("tiny_att_layer", -999, -1'000'000, 1'000'000);
  if (tiny > 0 && tiny_layer >= 0 && tiny_layer < layers) {
    model.insert("tiny_attention", map_of({{"layer", Node(tiny_layer)}, {"width", Node(tiny)}}));
  }
  return model;
}

Node hidden_width_parameters(const ReferenceCase& reference, std::int64_t standard) {
  const std::int64_t smallest = standard > 0 ? 1 : 0;
  return map_of({{"hidden_width", Node(reference.config.integer_or("dim_ffn", standard, smallest, most_channels))}});
}

Var reshaped_input(CaseRun& run, const std::string& name, const Shape& stored, const Shape& used) {
  const Tensor value = run.real_input(name, run.reference().input(name).shape().rank());
  if (value.shape() != stored) {
    throw DataError(fmt::format("tensor 'in.{}' has shape {}, expected {}", name, value.shape().text(), stored.text()));
  }
  Var leaf = Var::leaf(value.reshaped(used));
  run.set_input(name, {stored, {{leaf, 0, 0, value.elements()}}});
  return leaf;
}

std::function<void(CaseRun&)> block_runner(std::string slot, std::string kind,
                                           std::function<Node(const ReferenceCase&)> parameters) {
  return [slot = std::move(slot), kind = std::move(kind), parameters = std::move(parameters)](CaseRun& run) {
    run_block(run, slot, kind, parameters(run.reference()));
  };
}

void run_matrix_state_model(CaseRun& run, const ModelTranslation& translation) {
  run_model_layer_states(run, translation, {{"att_x", "att.x"}, {"wkv", "att.wkv"}, {"ffn_x", "ffn.x"}});
}

std::function<void(CaseRun&)> with_translation(void (*runner)(CaseRun&, const ModelTranslation&),
                                               ModelTranslation translation) {
  return [runner, translation = std::move(translation)](CaseRun& run) { runner(run, translation); };
}

void run_matrix_state_wkv(CaseRun& run) {
  const Shape given = run.reference().input("r").shape();
  if (given.rank() != 4) {
    throw DataError(fmt::format("tensor 'in.r' has shape {}, expected [batch, time, heads, head size]", given.text()));
  }
  const std::int64_t batch = given[0], time = given[1], heads = given[2], size = given[3];
  run.config().agree("batch", batch, "'in.r'");
  run.config().agree("seq_len", time, "'in.r'");
  run.config().agree("n_head", heads, "'in.r'");
  run.config().agree("head_size", size, "'in.r'");
  // The operator has heads and their channels in one dimension; both are the same numbers in the same order.
  const auto leaf = [&](const std::string& name, const Shape& stored, const Shape& used) {
    return reshaped_input(run, name, stored, used);
  };
  const Shape sequence = {batch, time, heads * size}, head = {heads, size}, state = {batch, heads, size, size};
  Wkv6Inputs inputs;
  inputs.receptance = leaf("r", given, sequence);
  inputs.key = leaf("k", given, sequence);
  inputs.value = leaf("v", given, sequence);
  const bool fixed = run.reference().input("w").shape().rank() == 2;
  inputs.decay = leaf("w", fixed ? head : given, fixed ? head : sequence);
  inputs.bonus = leaf("u", head, head);
  if (run.reference().inputs.count("s0") != 0) inputs.state = leaf("s0", state, state);
  inputs.head_size = size;
  const Wkv6Result result = wkv6(inputs, true);
  run.output("y", {given, {{result.y, 0, 0, result.y.value().elements()}}});
  run.output("s", result.final_state);
}

}  // namespace rwkvlab
