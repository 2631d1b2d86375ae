// Initial values of a whole model that replace those of its blocks.
#pragma once

#include "nn/module.h"

namespace rwkvlab {

/// The recipe of GPT-2 (Radford et al., 2019, section 2.3) for the tables and projections below `model`: N(0, 0.02²);
/// projections that end a residual branch (the mixers' `output` and the channel mixes' `value`) are divided by
/// sqrt(2 layers), biases are 0. What is neither a table nor a projection keeps its own values.
void use_gpt2_initial_values(Module& model, int layers);

}  // namespace rwkvlab
