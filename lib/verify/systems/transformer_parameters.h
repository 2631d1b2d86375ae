// What the config keys and parameter names of Transformer cases mean in the project's own terms.
#pragma once

#include <string>

#include "config/node.h"
#include "verify/reference_case.h"

namespace rwkvlab {

/// The parameters of the time mix `attention`, from num_heads or head_size, position, rope_base and max_seq_len. Throws
/// DataError for what the mixer cannot be: not causal, another scale than 1 / sqrt(head_size).
Node attention_parameters(const ReferenceCase& reference, std::int64_t width);

/// The parameters of the channel mix `gelu_mlp`, from mlp_size and activation.
Node gelu_mlp_parameters(const ReferenceCase& reference, std::int64_t width);

/// What a parameter of our attention or MLP is called in the cases: "query.weight" is "q_proj.weight", and in a block
/// "att.query.weight" is "attn.q_proj.weight", "ffn.key.bias" is "mlp.fc.bias", "ln1.weight" is "ln_1.weight"; of a
/// model "emb", "positions", "ln_out" and "head" are "wte", "wpe", "ln_f" and "lm_head".
std::string transformer_case_name(const std::string& own);

}  // namespace rwkvlab
