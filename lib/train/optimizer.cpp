#include "train/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/profiler.h"
#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "kernels/reduce.h"

namespace rwkvlab {
namespace {

const RegisterSlot slot("optimizer", "How parameters follow their gradients.");

}  // namespace

void require_match(const std::string& option, const std::string& pattern, const std::vector<Parameter*>& parameters) {
  std::vector<std::string> names;
  names.reserve(parameters.size());
  for (const Parameter* const p : parameters) {
    if (matches_glob(p->name, pattern)) return;
    names.push_back(p->name);
  }
  std::string nearest = did_you_mean(pattern, names);
  if (nearest.empty() && !names.empty()) nearest = fmt::format(" (a name looks like '{}')", names.back());
  throw ConfigError(fmt::format("{}: no parameter matches '{}'{}", option, pattern, nearest));
}

void describe(Fields<ParameterGroup>& f) {
  f.doc("Other rules for the parameters whose names match; the last match that sets a property decides it.");
  f.required("match", &ParameterGroup::match,
             "official parameter name or pattern; `*` stands for any characters, dots included, `?` for one")
      .not_empty();
  f.add("learning_rate_scale", &ParameterGroup::learning_rate_scale,
        "factor on the learning rate, in place of the block's own", at_least(0));
  f.add("weight_decay", &ParameterGroup::weight_decay, "whether weight decay applies");
  f.add("freeze", &ParameterGroup::freeze, "keep the initial values; no gradient is computed");
}

std::vector<TrainedParameter> trained_parameters(Module& model, const ParameterPolicy& policy) {
  const std::vector<Parameter*> all = model.parameters();
  for (const ParameterGroup& group : policy.groups) require_match("parameter_groups", group.match, all);
  std::vector<TrainedParameter> trained;
  for (Parameter* const p : all) {
    TrainedParameter entry = {p, 1, p->rules.weight_decay};
    if (policy.layerwise_learning_rate) {
      entry.learning_rate_scale = policy.warm_up_stage ? p->rules.warm_up_stage_scale : p->rules.learning_rate_scale;
    }
    bool frozen = false;
    for (const ParameterGroup& group : policy.groups) {
      if (!matches_glob(p->name, group.match)) continue;
      entry.learning_rate_scale = group.learning_rate_scale.value_or(entry.learning_rate_scale);
      entry.weight_decay = group.weight_decay.value_or(entry.weight_decay);
      frozen = group.freeze.value_or(frozen);
    }
    if (!frozen) {
      trained.push_back(entry);
    } else if (p->var.defined()) {
      p->var = p->var.detached();
    }
  }
  return trained;
}

double gradient_norm(const std::vector<TrainedParameter>& parameters) {
  const ProfileSpan span(Phase::update, "gradient_norm");
  double sum = 0;
  for (const TrainedParameter& entry : parameters) {
    const Tensor& gradient = entry.parameter->var.grad();
    if (!gradient.defined()) continue;
    span.add_bytes(static_cast<double>(gradient.bytes()));
    for_real(gradient.dtype(), [&]<class Real>(Real) {
      sum += kernels::sum_of_squares<Real>(gradient.elements(), gradient.data<Real>());
    });
  }
  return std::sqrt(sum);
}

double clip_factor(double norm, double max_norm) {
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

void clear_gradients(const std::vector<TrainedParameter>& parameters) {
  const ProfileSpan span(Phase::update, "clear_gradients");
  for (const TrainedParameter& entry : parameters) entry.parameter->var.clear_grad();
}

std::unique_ptr<Optimizer> make_optimizer(const Choice& choice, const std::vector<TrainedParameter>& parameters) {
  return build_kind<Optimizer, std::vector<TrainedParameter>>(
      "optimizer", choice ? choice : make_choice("optimizer", "adamw"), parameters);
}

}  // namespace rwkvlab
