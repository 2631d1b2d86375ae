// Every registered kind of mixer with its defaults and with other parameters. New kinds appear here by themselves.
#pragma once

#include <algorithm>
#include <cctype>
#include <memory>
#include <string>
#include <vector>

#include "blocks/mixer.h"
#include "config/registry.h"
#include "config/yaml_reader.h"
#include "tests/support/tensors.h"

namespace rwkvlab::test {

struct Variant {
  std::string slot, kind, parameters;  ///< parameters as YAML
  bool carries_state = true;
};

/// Parameters that the schema cannot suggest: sizes, and options that exclude a carried state.
inline const std::vector<Variant>& hand_written_variants() {
  static const std::vector<Variant> table = {
      {"time_mix", "rwkv4", "{attention_width: 5}"},
      {"time_mix", "rwkv4", "{attention_width: 37, token_shift: false}"},
      {"time_mix", "rwkv4", "{small_attention: 3}", false},
      {"time_mix", "rwkv4", "{small_attention: 1, token_shift: false, attention_width: 5}", false},
      {"channel_mix", "rwkv4", "{hidden_width: 5}"},
      {"channel_mix", "rwkv4", "{token_shift: false, receptance: false, activation: gelu}"},
      {"channel_mix", "mish_glu", "{hidden_width: 5, token_shift: false}"},
      {"time_mix", "rwkv5", "{head_size: 4}"},
      {"time_mix", "rwkv5", "{decay: per_head, bonus: per_head, head_size: 2}"},
      {"time_mix", "rwkv5",
       "{decay: per_head, bonus: per_head_exponential, gate: none, head_size: 5, attention_width: 15}"},
      {"channel_mix", "rwkv5", "{hidden_width: 5}"},
      {"time_mix", "rwkv6", "{head_size: 4, mix_rank: 3, decay_rank: 5}"},
      {"time_mix", "rwkv6", "{head_size: 5, attention_width: 15, gate: low_rank, gate_rank: 3}"},
      {"time_mix", "rwkv6", "{gate: none, normalization: layer_norm, key_scale: forgotten, head_size: 2}"},
      {"time_mix", "rwkv6", "{decay: learned, key_scale: forgotten, token_shift: static, gate: none}"},
      {"time_mix", "rwkv6", "{decay: fixed, key_scale: limited, gate: none, token_shift: none}"},
      {"channel_mix", "rwkv6", "{hidden_width: 5}"},
      {"time_mix", "rwkv7", "{head_size: 4, decay_rank: 3, rate_rank: 2, value_rank: 1, gate_rank: 5}"},
      {"time_mix", "rwkv7", "{head_size: 1, group_norm: false}"},
      {"time_mix", "rwkv7", "{decay: learned, decay_per_head: true, rate: learned, rate_per_head: true, head_size: 4}"},
      {"time_mix", "rwkv7", "{decay: fixed, decay_per_head: true, rate_limit: 2, key_scale: false, key_boost: full}"},
      {"time_mix", "rwkv7", "{delta_rule: false, key_boost: none, bonus: false, value_residual: false, gate: false}"},
      {"time_mix", "rwkv7", "{delta_rule: false, rate: none, group_norm: false, token_shift: false}"},
      {"time_mix", "rwkv7", "{decay: none, rate: none, key_boost: none, token_shift: false, head_size: 4}"},
      {"channel_mix", "rwkv7", "{hidden_width: 5}"},
      {"time_mix", "linear_attention", "{heads: 2, key_size: 3, value_size: 5, convolution: 1}"},
      {"time_mix", "retention", "{heads: 2, key_size: 3, value_size: 4, convolution: 3}"},
      {"time_mix", "retention", "{heads: 4, decay: none, gate: false}"},
      {"time_mix", "gated_linear_attention", "{heads: 2, key_size: 3, value_size: 5, gate_rank: 3, convolution: 2}"},
      {"time_mix", "gated_linear_attention", "{decay: learned, normalization: false, gate: false}"},
      {"time_mix", "delta_rule", "{heads: 2, key_size: 3, value_size: 5, convolution: 0, gate: true}"},
      {"time_mix", "delta_rule", "{write_strength: false, negative_eigenvalues: true, convolution: 2}"},
      {"time_mix", "mamba2", "{head_size: 4, state_size: 3, groups: 2, convolution: 2}"},
      {"time_mix", "mamba2", "{head_size: 2, state_size: 5, convolution: 0, expansion: 1, skip: false, gate: false}"},
      {"time_mix", "attention", "{head_size: 2}"},
      {"time_mix", "attention", "{head_size: 1, positions: alibi, bias: true}"},
      {"time_mix", "attention", "{head_size: 4, positions: learned, max_length: 1024}"},
      {"time_mix", "aft_full", "{attention_width: 5}"},
      {"time_mix", "aft_simple", "{attention_width: 5}"},
      {"channel_mix", "gelu_mlp", "{hidden_width: 5, bias: false}"},
      {"channel_mix", "swiglu", "{hidden_width: 5}"},
      {"time_mix", "vision_rwkv", "{channel_gamma: 0.2, shift_pixels: 2, key_norm: true, initial_values: global}"},
      {"time_mix", "vision_rwkv", "{token_shift: q_shift_heads, head_size: 4, bounded_decay: false}"},
      {"time_mix", "vision_rwkv", "{token_shift: previous, direction: causal}"},
      {"time_mix", "vision_rwkv6", "{head_size: 4, mix_rank: 3, decay_rank: 5, key_norm: true}"},
      {"channel_mix", "vision_rwkv", "{hidden_width: 5, key_norm: true, token_shift: double}"},
  };
  return table;
}

inline std::unique_ptr<Mixer> unallocated_mixer(const Variant& variant, std::int64_t width) {
  const Choice choice = make_choice(variant.slot, variant.kind, parse_yaml(variant.parameters, "variant"));
  return make_root(build_kind<Mixer, MixerSite>(variant.slot, choice, MixerSite{1, 3, width}), "blocks.1.mix");
}

/// Whether the mixer is for sequences; false for those of images, which see all tokens at once.
inline bool is_causal(const Variant& variant) { return unallocated_mixer(variant, 8)->is_causal(); }

/// The defaults, every boolean flipped, every word of a choice, and the hand-written ones.
inline std::vector<Variant> all_variants() {
  std::vector<Variant> all;
  for (const std::string slot : {"time_mix", "channel_mix"}) {
    for (const std::string& kind : KindRegistry::instance().kinds(slot)) {
      if (kind == "none") continue;  // Nothing of what is tested holds for a branch that adds nothing.
      all.push_back({slot, kind, "{}"});
      for (const Field& field : KindRegistry::instance().find(slot, kind)->fields) {
        if (field.shape != FieldShape::scalar) continue;
        if (field.scalar == ScalarType::boolean && !field.default_value.is_null()) {
          all.push_back(
              {slot, kind, "{" + field.key + ": " + (field.default_value.boolean() ? "false" : "true") + "}"});
        }
        for (const Option& option : field.constraint.options) {
          if (field.default_value == Node(option.value)) continue;
          if (option.value == "official_cuda") continue;  // Its gradients are not those of what it computes.
          all.push_back({slot, kind, "{" + field.key + ": '" + option.value + "'}"});
        }
      }
    }
  }
  const auto& more = hand_written_variants();
  all.insert(all.end(), more.begin(), more.end());
  for (Variant& variant : all) variant.carries_state = variant.carries_state && is_causal(variant);
  return all;
}

inline std::string variant_name(const Variant& variant) {
  std::string name = variant.slot + "_" + variant.kind + "_";
  for (const char c : variant.parameters) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) name += c;
    if (c == ' ' || c == '_') name += '_';
  }
  return name;
}

/// The mixer of a variant in layer 1 of 3, allocated. Its initial values are disturbed, because the official ones are
/// zero where a mistake could hide.
inline std::unique_ptr<Mixer> build_mixer(const Variant& variant, DType type, std::int64_t width = 8,
                                          const std::string& seed = "") {
  auto mixer = unallocated_mixer(variant, width);
  mixer->allocate(1, DType::f64);
  for (Parameter* const p : mixer->parameters()) {
    const Tensor noise = normal_tensor(p->shape, seed + p->name, 0.3);
    for (std::int64_t i = 0; i < noise.elements(); ++i) noise.data<double>()[i] += p->var.value().data<double>()[i];
    p->var = Var::leaf(noise.to(type));
  }
  return mixer;
}

/// Forward with a grid where the mixer needs one: as square as the tokens allow, the last few without a place.
inline Var forward(Mixer& mixer, const Var& x, ForwardContext context = {}) {
  const std::int64_t tokens = x.shape()[1];
  TokenGrid grid;
  while ((grid.rows + 1) * (grid.rows + 1) <= tokens) ++grid.rows;
  grid.columns = tokens / std::max<std::int64_t>(1, grid.rows);
  grid.extra = tokens - grid.rows * grid.columns;
  if (mixer.needs_grid()) context.grid = &grid;
  return mixer.forward(x, context);
}

/// Tokens [begin, end) of [batch, time, channels], copied.
inline Tensor slice_time(const Tensor& x, std::int64_t begin, std::int64_t end) {
  const std::int64_t batch = x.shape()[0], time = x.shape()[1];
  const Tensor result = Tensor::empty({batch, end - begin, x.shape()[2]}, x.dtype());
  for (std::int64_t b = 0; b < batch; ++b) {
    result.rows(b, b + 1)
        .reshaped({end - begin, x.shape()[2]})
        .copy_from(x.reshaped({batch * time, x.shape()[2]}).rows(b * time + begin, b * time + end));
  }
  return result;
}

/// The opposite: `pieces` one after the other in time.
inline Tensor join_time(const Tensors& pieces) {
  std::int64_t time = 0;
  for (const Tensor& piece : pieces) time += piece.shape()[1];
  const std::int64_t batch = pieces[0].shape()[0], channels = pieces[0].shape()[2];
  const Tensor result = Tensor::empty({batch, time, channels}, pieces[0].dtype());
  std::int64_t at = 0;
  for (const Tensor& piece : pieces) {
    const std::int64_t length = piece.shape()[1];
    for (std::int64_t b = 0; b < batch; ++b) {
      result.reshaped({batch * time, channels})
          .rows(b * time + at, b * time + at + length)
          .copy_from(piece.reshaped({batch * length, channels}).rows(b * length, (b + 1) * length));
    }
    at += length;
  }
  return result;
}

}  // namespace rwkvlab::test
