#include "blocks/rwkv7_step.h"

#include <span>

#include "kernels/activation.h"
#include "kernels/rwkv7_token.h"

namespace rwkvlab {

// Calls use(weight, whether it is stored as [in, out], where in Weights it belongs) in the order of reading.
template <class Stored, class Use>
void Rwkv7Step::each_weight(Stored& weights, const Use& use) const {
  std::size_t i = 0;
  for (const Linear* const layer : {parts_.receptance, parts_.key, parts_.value}) {
    use(layer->weight(), false, weights.token[i++]);
  }
  const Rwkv7Adapter* const all[of_adapters] = {&parts_.decay, &parts_.rate, &parts_.gate, &parts_.value_gate};
  const std::span present = std::span(all).first(adapters());
  for (const Rwkv7Adapter* const adapter : present) use(adapter->first->var, true, weights.token[i++]);
  i = 0;
  for (const Rwkv7Adapter* const adapter : present) use(adapter->second->var, true, weights.adapters[i++]);
  use(parts_.output->weight(), false, weights.output);
}

void Rwkv7Step::survey(StoredWeights::Survey& survey) const {
  Weights unused;
  each_weight(unused, [&](const Var& weight, bool input_major, const kernels::StoredRows&) {
    survey.note(weight.value(), input_major);
  });
}

bool Rwkv7Step::find(const StoredWeights& stored) {
  const kernels::StoredRows* const first = stored.find(parts_.receptance->weight().value(), false);
  if (first == nullptr) return false;
  if (found_in_ == &stored && weights_.token[0].words == first->words) return true;
  bool has_all = true;
  each_weight(weights_, [&](const Var& weight, bool input_major, kernels::StoredRows& rows) {
    const kernels::StoredRows* const found = stored.find(weight.value(), input_major);
    has_all = has_all && found != nullptr;
    if (found != nullptr) rows = *found;
  });
  found_in_ = has_all ? &stored : nullptr;
  return has_all;
}

std::int64_t Rwkv7Step::lines(std::int64_t sequences) const {
  std::int64_t lines = 7 * StepMemory::lines(sequences * parts_.width());
  for (std::size_t i = 0; i < adapters(); ++i) lines += StepMemory::lines(sequences * weights_.adapters[i].inputs);
  return lines;
}

namespace {

// What the kernel knows before the products. The vectors are asked for: they arrive beside the weights.
kernels::Rwkv7Token kernel_call(const Rwkv7Parts& parts, std::int64_t sequences) {
  const auto ask = [&parts](const Parameter& parameter) {
    const float* const values = parameter.var.value().data<float>();
    ask_for(values, parts.width());
    return values;
  };
  kernels::Rwkv7Token call;
  call.sequences = sequences, call.heads = parts.heads, call.head_size = parts.head_size;
  call.fastest_log_decay = parts.fastest_log_decay, call.rate_limit = parts.rate_limit, call.epsilon = parts.epsilon;
  call.decay_offset = ask(*parts.decay.offset), call.rate_offset = ask(*parts.rate.offset);
  call.key_scale = ask(*parts.key_scale), call.key_boost = ask(*parts.key_boost), call.bonus = ask(*parts.bonus);
  call.norm_weight = ask(*parts.norm->own_parameters()[0]), call.norm_bias = ask(*parts.norm->own_parameters()[1]);
  return call;
}

void activate(kernels::Activation kind, std::int64_t count, float* x) {
  kernels::activation_forward<float>(kind, count, x, x);
}

}  // namespace

void Rwkv7Step::run(const Rwkv7Token& token, StepMemory& memory) const {
  const std::int64_t sequences = token.sequences, count = sequences * parts_.width();
  const float* const inputs[of_token] = {token.receptance, token.key,  token.value, token.decay,
                                         token.rate,       token.gate, token.value};
  float* outputs[of_token] = {memory.take(count), memory.take(count), token.own_value};
  std::array<kernels::RowProduct, of_token> products;
  for (std::size_t i = 0; i < 3 + adapters(); ++i) {
    if (i >= 3) outputs[i] = memory.take(sequences * weights_.token[i].outputs);
    products[i] = {weights_.token[i], inputs[i], outputs[i]};
  }
  kernels::row_products(std::span(products).first(3 + adapters()), sequences);
  activate(kernels::Activation::tanh, sequences * weights_.token[3].outputs, outputs[3]);
  activate(kernels::Activation::sigmoid, sequences * weights_.token[5].outputs, outputs[5]);

  float* second[of_adapters] = {};
  for (std::size_t i = 0; i < adapters(); ++i) {
    second[i] = memory.take(count);
    products[i] = {weights_.adapters[i], outputs[3 + i], second[i]};
  }
  kernels::Rwkv7Token call = kernel_call(parts_, sequences);
  call.receptance = outputs[0], call.key = outputs[1], call.value = outputs[2];
  call.decay = second[0], call.rate = second[1], call.gate = second[2];
  if (mixes_value() && token.first_value != nullptr) {
    call.value_weight = second[3], call.first_value = token.first_value;
    call.value_offset = parts_.value_gate.offset->var.value().data<float>();
    ask_for(call.value_offset, parts_.width());
  }
  kernels::row_products(std::span(products).first(adapters()), sequences);
  call.state = token.state, call.next_state = token.next_state;
  call.y = memory.take(count);
  kernels::rwkv7_token(call);
  kernels::row_product(weights_.output, sequences, call.y, token.y);
}

}  // namespace rwkvlab
