// What the systems' language models have in common: config keys of a case as the parameters of `language_model`.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "config/node.h"
#include "verify/runners.h"

namespace rwkvlab {

/// The largest number of channels, ranks and such that a case may ask for.
inline constexpr std::int64_t most_channels = 1 << 20;

Node map_of(const std::vector<std::pair<std::string, Node>>& entries);
/// `parameters` as a choice of `kind`.
Node with_kind(const std::string& kind, Node parameters);
/// The first parameter (or else output) whose name ends in `suffix`; null when there is none.
const Tensor* find_tensor(const ReferenceCase& reference, const std::string& suffix);

/// n_layer, n_embd, vocab_size, layer_norm_eps, head_qk, pre_ffn, tiny_att_dim and tiny_att_layer of the config, with
/// the given mixers. `plain_channel_mix` is what pre_ffn puts into the first layer.
Node language_model_parameters(const ReferenceCase& reference, Node time_mix, Node channel_mix, Node plain_channel_mix);

/// The parameters of a channel mix: dim_ffn of the config, or else `standard` (0: what the block itself takes).
Node hidden_width_parameters(const ReferenceCase& reference, std::int64_t standard = 0);

/// in.<name> as a leaf, whose shape in the file is `stored`, used as `used`: the same numbers in the same order. Throws
/// DataError when the file's tensor has another shape.
Var reshaped_input(CaseRun& run, const std::string& name, const Shape& stored, const Shape& used);

/// A case of one block whose parameters follow from the case.
std::function<void(CaseRun&)> block_runner(std::string slot, std::string kind,
                                           std::function<Node(const ReferenceCase&)> parameters);
/// A model in chunks, whose layers carry the last tokens and a matrix-valued state: att_x, wkv and ffn_x.
void run_matrix_state_model(CaseRun& run, const ModelTranslation& translation);

/// A runner with the translation of its system.
std::function<void(CaseRun&)> with_translation(void (*runner)(CaseRun&, const ModelTranslation&),
                                               ModelTranslation translation);

/// The cases wkv5 and wkv6: in.r, in.k, in.v [batch, time, heads, head size], in.w (the same, or [heads, head size]),
/// in.u [heads, head size] and in.s0 [batch, heads, head size, head size] -> out.y and the final state out.s.
void run_matrix_state_wkv(CaseRun& run);

}  // namespace rwkvlab
