// A model's weights in the formats of inference.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "autograd/stored_weights.h"
#include "models/language_model.h"

namespace rwkvlab {

/// "float32", "bfloat16", "int8".
const std::vector<std::string>& weight_format_names();
/// Throws ConfigError naming the nearest format.
WeightFormat weight_format_named(const std::string& name);

/// Stores the weights of all linear layers of a model with memory, head included, in a format of kernels/row_product.h,
/// and frees what they replace. The model then only runs forward, in float32, while a StoredWeights::Scope of the
/// result lives (a Generator sees to that itself). Tables of embeddings, vectors and whatever else is no linear layer
/// stay as they are. Throws DataError naming a parameter that holds a value which is not finite.
std::shared_ptr<const StoredWeights> store_weights(LanguageModel& model, WeightFormat format);

/// A number that changes with any name, shape or (almost surely) value of the parameters: which weights these are. Of a
/// model whose weights have not been stored.
std::uint64_t weights_fingerprint(const Module& model);
/// The same of the parameters that count.
std::uint64_t weights_fingerprint(const Module& model, const std::function<bool(const Parameter&)>& counts);

}  // namespace rwkvlab
