// A model's weights in the formats of inference.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "autograd/stored_weights.h"
#include "models/language_model.h"

namespace rwkvlab {

/// "float32", "bfloat16", "int8".
const std::vector<std::string>& weight_format_names();
/// Throws ConfigError naming the nearest format.
WeightFormat weight_format_named(const std::string& name);

/// Stores the weights of all linear layers of a model with memory, head included, in a format of kernels/row_product.h,
/// and frees each when it is stored. The model then only runs forward, in float32, while a StoredWeights::Scope of the
/// result lives (a Generator sees to that itself). Tables of embeddings, vectors and whatever else is no linear layer
/// stay as they are. Throws DataError naming a parameter that holds a value which is not finite; the model is of no use
/// then.
std::shared_ptr<const StoredWeights> store_weights(LanguageModel& model, WeightFormat format);

/// The value of a parameter, float32, of its shape.
using ReadWeight = std::function<Tensor(const Parameter&)>;
/// The same for a model without memory. `read` is asked for every parameter once, for the weight of a linear layer when
/// the one before has been stored: in float32 no two of them are in memory at the same time.
std::shared_ptr<const StoredWeights> store_weights(LanguageModel& model, WeightFormat format, const ReadWeight& read);

/// A number that changes with any name, shape or (almost surely) value of the parameters: which weights these are.
class WeightsFingerprint {
 public:
  /// In any order.
  void add(const Parameter& parameter, const Tensor& value);
  /// Of the parameters of `model` that were added.
  std::uint64_t of(const Module& model) const;

 private:
  std::unordered_map<const Parameter*, std::string> parts_;
};

/// Of a model whose weights have not been stored.
std::uint64_t weights_fingerprint(const Module& model);
/// The same of the parameters that count.
std::uint64_t weights_fingerprint(const Module& model, const std::function<bool(const Parameter&)>& counts);

}  // namespace rwkvlab
