#include "models/image_flops.h"

#include <optional>
#include <string_view>

#include "models/image_backbone.h"
#include "nn/layers.h"

namespace rwkvlab {
namespace {

const Shape* own_shape(const Module& module, std::string_view name) {
  for (const auto& parameter : module.own_parameters()) {
    if (parameter->name == name || parameter->name.ends_with("." + std::string(name))) return &parameter->shape;
  }
  return nullptr;
}

const Module* child_of(const Module& module, std::string_view name) {
  for (const auto& [child_name, child] : module.children()) {
    if (child_name == name) return child.get();
  }
  return nullptr;
}

// What a token mix computes besides its projections and norms; nothing for mixes that the paper does not have.
std::optional<double> between_products(const Module& mix, double tokens) {
  if (const Shape* const decay = own_shape(mix, "spatial_decay")) {
    return 29 * tokens * static_cast<double>(decay->elements());
  }
  const Shape* const bonus = own_shape(mix, "time_faaaa");
  const Shape* const low_rank = own_shape(mix, "time_maa_w2");
  const Shape* const low_rank_decay = own_shape(mix, "time_decay_w2");
  if (bonus != nullptr && low_rank != nullptr && low_rank_decay != nullptr) {
    const auto width = static_cast<double>(bonus->elements()), head = static_cast<double>((*bonus)[1]);
    const auto mixes = static_cast<double>((*low_rank)[1]), decays = static_cast<double>((*low_rank_decay)[0]);
    return tokens * width * (10 * mixes + 2 * decays + 7 * head + 17) + tokens * (5 * mixes + decays);
  }
  // Attention, if every token sees all others.
  const auto* const mixer = dynamic_cast<const Mixer*>(&mix);
  const Module* const query = child_of(mix, "query");
  if (mixer != nullptr && !mixer->is_causal() && query != nullptr && child_of(mix, "key") != nullptr &&
      child_of(mix, "output") != nullptr) {
    const Shape* const weight = own_shape(*query, "weight");
    if (weight != nullptr) return 2 * tokens * tokens * static_cast<double>((*weight)[0]);
  }
  return std::nullopt;
}

struct Count {
  double flops = 0;
  bool is_known = true;
};

void add_module(const Module& module, double tokens, Count& count) {
  const auto elements = [&](const char* name) {
    const Shape* const shape = own_shape(module, name);
    return shape == nullptr ? 0.0 : static_cast<double>(shape->elements());
  };
  if (dynamic_cast<const Linear*>(&module) != nullptr) {
    count.flops += tokens * elements("weight");
  } else if (dynamic_cast<const PatchProjection*>(&module) != nullptr) {
    count.flops += tokens * (elements("weight") + elements("bias"));
  } else if (dynamic_cast<const LayerNorm*>(&module) != nullptr || dynamic_cast<const GroupNorm*>(&module) != nullptr) {
    count.flops += 2 * tokens * elements("weight");
  } else if (dynamic_cast<const ImageLayer*>(&module) != nullptr) {
    const Module* const mix = child_of(module, "att");
    const std::optional<double> between = mix == nullptr ? std::nullopt : between_products(*mix, tokens);
    count.flops += between.value_or(0);
    count.is_known = count.is_known && between.has_value();
  }
  for (const auto& [name, child] : module.children()) add_module(*child, tokens, count);
}

}  // namespace

double published_flops_of(const Module& module, double tokens) {
  Count count;
  add_module(module, tokens, count);
  return count.is_known ? count.flops : 0;
}

}  // namespace rwkvlab
