#include "models/weight_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/nearest.h"
#include "base/random.h"
#include "config/diagnostics.h"
#include "config/node.h"

namespace rwkvlab {
namespace {

// The weights that linear layers of one token use, in the order of use.
std::vector<StoredWeights::Use> linear_weights(const LanguageModel& model) {
  const ShapeOnly no_memory;
  const StoredWeights::Survey survey;
  model.logits(Tensor::empty({1, 1}, DType::i64), {});
  return survey.uses();
}

// Parameters that nothing but linear layers reads.
std::set<const Parameter*> parameters_of_linear_layers(const Module& module) {
  std::set<const Parameter*> found;
  if (dynamic_cast<const Linear*>(&module) != nullptr) {
    for (const auto& own : module.own_parameters()) found.insert(own.get());
  }
  for (const auto& [name, child] : module.children()) found.merge(parameters_of_linear_layers(*child));
  return found;
}

Parameter& owner(const std::vector<Parameter*>& parameters, const Tensor& weight) {
  const auto found = std::find_if(parameters.begin(), parameters.end(),
                                  [&](const Parameter* p) { return p->var.value().identity() == weight.identity(); });
  check_invariant(found != parameters.end(), "linear layers of a model multiply by its parameters");
  return **found;
}

}  // namespace

const std::vector<std::string>& weight_format_names() {
  static const std::vector<std::string> names = {"float32", "bfloat16", "int8"};
  return names;
}

WeightFormat weight_format_named(const std::string& name) {
  for (const WeightFormat format : {WeightFormat::float32, WeightFormat::bfloat16, WeightFormat::int8}) {
    if (name == kernels::name(format)) return format;
  }
  throw ConfigError(fmt::format("{} is no format of weights{}. There are: {}", quote(name),
                                did_you_mean(name, weight_format_names()), join_names(weight_format_names())));
}

std::shared_ptr<const StoredWeights> store_weights(LanguageModel& model, WeightFormat format) {
  const std::vector<StoredWeights::Use> uses = linear_weights(model);
  auto stored = std::make_shared<StoredWeights>(format, uses);
  const std::vector<Parameter*> parameters = model.parameters();
  const std::set<const Parameter*> replaceable = parameters_of_linear_layers(model);
  for (const StoredWeights::Use& use : uses) {
    Parameter& parameter = owner(parameters, use.weight);
    const bool replaces = replaceable.count(&parameter) > 0;
    const Tensor key = replaces ? Tensor::placeholder(use.weight.shape()) : use.weight;
    try {
      stored->store(use, key);
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}: {}", parameter.name, error.what()));
    }
    if (replaces) parameter.var = Var(key);
  }
  release_pooled_memory();
  return stored;
}

std::uint64_t weights_fingerprint(const Module& model) {
  return weights_fingerprint(model, [](const Parameter&) { return true; });
}

std::uint64_t weights_fingerprint(const Module& model, const std::function<bool(const Parameter&)>& counts) {
  std::string text;
  for (const Parameter* const parameter : model.parameters()) {
    if (!counts(*parameter)) continue;
    const Tensor& value = parameter->var.value();
    const auto* const bytes = reinterpret_cast<const char*>(value.data<float>());
    const auto part = static_cast<std::size_t>(std::min<std::int64_t>(value.elements(), 256)) * sizeof(float);
    text += fmt::format("{} {} ", parameter->name, parameter->shape.text());
    text.append(bytes, part);
    text.append(bytes + value.bytes() - part, part);
  }
  return stable_hash(text);
}

}  // namespace rwkvlab
