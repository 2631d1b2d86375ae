#include "train/tuning.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "models/initial_state.h"
#include "models/weight_format.h"
#include "train/non_finite.h"
#include "train/tensor_loading.h"

namespace rwkvlab {
namespace {

constexpr const char* base_key = "base_weights";

const RegisterSlot slot("tune", "What of the model a training changes.");

struct FullTuningParams {};

class FullTuning final : public Tuning {
 public:
  explicit FullTuning(const TuningSite& site) : Tuning(site, false) {
    std::vector<Parameter*> frozen = site.model->parameters();
    for (const TrainedParameter& entry : trained_parameters(*site.model, site.policy)) {
      train(entry);
      std::erase(frozen, entry.parameter);
    }
    for (Parameter* const parameter : frozen) freeze(*parameter);
    if (parameters().empty()) {
      throw ConfigError("parameter_groups freeze every parameter: nothing is left to train");
    }
  }
};

struct StateTuningParams {};

class StateTuning final : public Tuning {
 public:
  explicit StateTuning(const TuningSite& site) : Tuning(site, true) {
    for (const TrainedParameter& entry : trained_parameters(*site.model, site.policy)) {
      if (is_initial_state(*entry.parameter)) train(entry);
    }
    for (Parameter* const parameter : site.model->parameters()) {
      if (!is_initial_state(*parameter)) freeze(*parameter);
    }
    if (!parameters().empty()) return;
    throw ConfigError(
        "train.tune: the model has no initial state that is learned: set model.learned_state: true (every piece of its "
        "state), or time_mix: {kind: rwkv6, learned_state: true} (the matrices, as official files hold them)");
  }
};

const RegisterKind<Tuning, FullTuningParams, TuningSite> full(
    "tune", "full",
    [](Fields<FullTuningParams>& f) { f.doc("All parameters, but for those that parameter_groups freeze."); },
    [](const FullTuningParams&, const TuningSite& site) { return std::make_unique<FullTuning>(site); });

const RegisterKind<Tuning, StateTuningParams, TuningSite> state(
    "tune", "state",
    [](Fields<StateTuningParams>& f) {
      f.doc(
          "Only the state that sequences start from: the model must have `learned_state: true`. Needs "
          "train.start_from.");
    },
    [](const StateTuningParams&, const TuningSite& site) { return std::make_unique<StateTuning>(site); });

}  // namespace

Tuning::Tuning(const TuningSite& site, bool keeps_base) : model_(site.model), keeps_base_(keeps_base) {
  check_invariant(model_ != nullptr, "a tuning is of a model");
  if (!keeps_base_ || !has_memory() || model_->parameters().front()->var.dtype() != DType::f32) return;
  const auto is_base = [](const Parameter& parameter) { return !is_initial_state(parameter); };
  base_ = fmt::format("{:016x}", weights_fingerprint(*model_, is_base));
}

bool Tuning::has_memory() const { return !ShapeOnly::active() && model_->parameters().front()->var.defined(); }

void Tuning::freeze(Parameter& parameter) {
  frozen_.push_back(&parameter);
  if (parameter.var.defined()) parameter.var = parameter.var.detached();
}

std::vector<NamedTensor> Tuning::tensors() const {
  if (!keeps_base_) return weights_of(*model_);
  std::vector<NamedTensor> result;
  for (const TrainedParameter& entry : trained_) {
    check_invariant(entry.parameter->var.defined(), "a tuning of a model that is not allocated holds nothing");
    result.push_back({entry.parameter->name, entry.parameter->var.value()});
  }
  return result;
}

std::map<std::string, std::string> Tuning::metadata() const {
  if (!keeps_base_) return {};
  return {{base_key, base_}};
}

void Tuning::load(const TensorFile& file) {
  if (!keeps_base_) return load_weights(*model_, file);
  const auto found = file.metadata().find(base_key);
  if (found == file.metadata().end()) {
    throw DataError(fmt::format("'{}' holds a whole model, expected what fine-tuning has trained beside one",
                                file.path().string()));
  }
  if (found->second != base_) {
    throw DataError(fmt::format(
        "'{}' was trained beside other weights than those that train.start_from names now; name the file it was "
        "trained with",
        file.path().string()));
  }
  load_tensors(file, tensors());
  for (const auto& [name, value] : tensors()) {
    if (is_finite(value)) continue;
    throw DataError(
        fmt::format("'{}': the tensor {} holds values that are not finite numbers", file.path().string(), name));
  }
  update();
}

std::unique_ptr<Tuning> make_tuning(const Choice& choice, const TuningSite& site) {
  return build_kind<Tuning, TuningSite>("tune", choice ? choice : make_choice("tune", "full"), site);
}

bool tunes_base_weights(const Choice& choice) { return choice && choice.kind != "full"; }

bool holds_tuning_alone(const TensorFile& file) { return file.metadata().contains(base_key); }

}  // namespace rwkvlab
