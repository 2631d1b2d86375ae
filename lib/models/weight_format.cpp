#include "models/weight_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/nearest.h"
#include "base/random.h"
#include "config/diagnostics.h"
#include "config/node.h"

namespace rwkvlab {
namespace {

// What was freed is kept for the next weight, but not all of it.
constexpr std::size_t most_kept_bytes = std::size_t{64} << 20;

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

const Parameter& owner(const std::vector<Parameter*>& parameters, const Tensor& weight) {
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
  std::unordered_map<const Parameter*, Tensor> values;
  for (Parameter* const p : model.parameters()) values.emplace(p, std::exchange(p->var, Var()).value());
  return store_weights(model, format, [&](const Parameter& p) { return std::exchange(values.at(&p), Tensor()); });
}

std::shared_ptr<const StoredWeights> store_weights(LanguageModel& model, WeightFormat format, const ReadWeight& read) {
  const std::vector<Parameter*> parameters = model.parameters();
  const std::set<const Parameter*> linear = parameters_of_linear_layers(model);
  for (Parameter* const p : parameters) p->var = Var(linear.contains(p) ? Tensor::placeholder(p->shape) : read(*p));
  const std::vector<StoredWeights::Use> uses = linear_weights(model);
  auto stored = std::make_shared<StoredWeights>(format, uses);
  std::set<const Parameter*> done;
  std::size_t freed = 0;
  for (const StoredWeights::Use& use : uses) {
    const Parameter& parameter = owner(parameters, use.weight);
    const bool is_new = done.insert(&parameter).second, is_replaced = linear.contains(&parameter);
    check_invariant(is_new || !is_replaced, "linear layers use a weight in one layout");
    const Tensor value = is_replaced ? read(parameter) : use.weight;
    try {
      stored->store({value, use.input_major}, use.weight);
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}: {}", parameter.name, error.what()));
    }
    freed += is_replaced ? value.bytes() : 0;
    if (freed < most_kept_bytes) continue;
    release_pooled_memory();
    freed = 0;
  }
  for (Parameter* const p : parameters) {
    if (linear.contains(p) && !done.contains(p)) p->var = Var(read(*p));
  }
  release_pooled_memory();
  return stored;
}

void WeightsFingerprint::add(const Parameter& parameter, const Tensor& value) {
  const auto* const bytes = reinterpret_cast<const char*>(value.data<float>());
  const auto part = static_cast<std::size_t>(std::min<std::int64_t>(value.elements(), 256)) * sizeof(float);
  std::string& text = parts_[&parameter];
  text = fmt::format("{} {} ", parameter.name, parameter.shape.text());
  text.append(bytes, part);
  text.append(bytes + value.bytes() - part, part);
}

std::uint64_t WeightsFingerprint::of(const Module& model) const {
  std::string text;
  for (const Parameter* const parameter : model.parameters()) {
    if (const auto found = parts_.find(parameter); found != parts_.end()) text += found->second;
  }
  return stable_hash(text);
}

std::uint64_t weights_fingerprint(const Module& model) {
  return weights_fingerprint(model, [](const Parameter&) { return true; });
}

std::uint64_t weights_fingerprint(const Module& model, const std::function<bool(const Parameter&)>& counts) {
  WeightsFingerprint fingerprint;
  for (const Parameter* const parameter : model.parameters()) {
    if (counts(*parameter)) fingerprint.add(*parameter, parameter->var.value());
  }
  return fingerprint.of(model);
}

}  // namespace rwkvlab
