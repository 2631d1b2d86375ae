// Experiment file -> data, model and objective, with the checks that need more than one of them.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "config/diagnostics.h"
#include "config/registry.h"
#include "data/image_data_set.h"
#include "models/image_model.h"
#include "models/language_model.h"
#include "run/experiment.h"
#include "run/initial_weights.h"
#include "tensor/memory.h"
#include "train/language_modelling.h"
#include "train/tuning.h"

namespace rwkvlab {
namespace {

// Where a key was written, or the nearest block around it that was.
Place place_of(const Node& tree, std::string path) {
  while (true) {
    const Node* const node = tree.find_path(path);
    if (node != nullptr && node->place().source != nullptr) return node->place();
    const std::size_t dot = path.rfind('.');
    if (dot == std::string::npos) return tree.place();
    path.resize(dot);
  }
}

// Runs a step of the building; what the parts complain about is blamed on the key at `path`.
template <class Step>
void attempt(Diagnostics& problems, const Node& tree, const std::string& path, Step&& step) {
  try {
    step();
  } catch (const ConfigError& error) {
    problems.add(place_of(tree, path), error.what());
  }
}

std::unique_ptr<DataSet> build_data(const LoadedExperiment& loaded) {
  const Experiment& e = loaded.experiment;
  try {
    auto data = build_kind<DataSet, DataSite>(data_slot, e.data, DataSite{loaded.file.parent_path(), e.seed});
    if (!objective_of_model(e.model.kind).empty()) image_data(*data);
    // What is wrong with the first batch is said now.
    if (const auto* const tokens = dynamic_cast<const TokenDataSet*>(data.get())) {
      tokens->training_batch(0, 1, e.train.context);
    } else {
      image_data(*data).training_images(0, 1);
    }
    return data;
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}", place_of(loaded.tree, "data").position().text(), error.what()));
  } catch (const ConfigError& error) {
    throw_problem(place_of(loaded.tree, "data"), error.what());
  }
}

ModelSite site_of(const DataSet& data) {
  if (const auto* const tokens = dynamic_cast<const TokenDataSet*>(&data)) return {.vocabulary = tokens->vocabulary()};
  const ImageDataSet& images = image_data(data);
  return {0, images.channels(), images.height(), images.width(), images.classes()};
}

std::unique_ptr<Module> build_model(const Experiment& e, const ModelSite& site) {
  return make_root(build_kind<Module, ModelSite>("model", e.model, site));
}

// A forward pass that costs nothing. It leaves the model without memory, as it was.
void pass_shapes(Module& model, std::int64_t batch, std::int64_t context, const ForwardContext& forward) {
  const ShapeOnly shape_only;
  model.allocate_uninitialised();
  if (const auto* const language_model = dynamic_cast<const LanguageModel*>(&model)) {
    language_model->logits(Tensor::empty({batch, context}, DType::i64), forward);
  } else {
    dynamic_cast<const ImageModel&>(model).trial_pass(batch, forward);
  }
  for (Parameter* const parameter : model.parameters()) parameter->var = Var();
}

class ProbeLister final : public ProbeSink {
 public:
  void probe(const std::string& path, const Var& value, std::string_view dimensions) override {
    sites.push_back({path, value.shape(), std::string(dimensions)});
  }
  std::vector<ProbeSite> sites;
};

// "blocks.3.att.wkv" -> "blocks.*.att.wkv".
std::string without_numbers(const std::string& path) {
  std::string result, part;
  for (std::size_t i = 0; i <= path.size(); ++i) {
    if (i < path.size() && path[i] != '.') {
      part += path[i];
      continue;
    }
    const bool is_number = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    result += (result.empty() ? "" : ".") + (is_number ? "*" : part);
    part.clear();
  }
  return result;
}

void check_probes(const LoadedExperiment& loaded, Module& model, Diagnostics& problems) {
  const auto& wanted = loaded.experiment.log.probes;
  if (wanted.empty()) return;
  const TrainParams& train = loaded.experiment.train;
  std::set<std::string> known, patterns;
  for (const ProbeSite& site : list_probes(model, train.batch, train.context)) {
    known.insert(site.path);
    patterns.insert(without_numbers(site.path));
  }
  std::vector<std::string> names(patterns.begin(), patterns.end());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto matches = [&](const std::string& path) { return matches_glob(path, wanted[i].match); };
    if (std::any_of(known.begin(), known.end(), matches)) continue;
    const std::string nearest = nearest_name(without_numbers(wanted[i].match), names);
    problems.add(
        place_of(loaded.tree, fmt::format("log.probes.{}.match", i)),
        fmt::format("'{}' matches no probe of this model", wanted[i].match),
        (nearest.empty() ? "" : fmt::format("did you mean '{}'?  ", nearest)) + "Probes: " + join_names(names));
  }
}

// Said now rather than at the first evaluation.
void check_carried_evaluation(const LoadedExperiment& loaded, const DataSet& any, Diagnostics& problems) {
  const Experiment& e = loaded.experiment;
  if (dynamic_cast<const ImageDataSet*>(&any) != nullptr) {
    if (e.evaluation.carry_state) problems.add(place_of(loaded.tree, "eval.carry_state"), no_state_between_examples);
    if (e.evaluation.by_position)
      problems.add(place_of(loaded.tree, "eval.by_position"), "eval.by_position: images have no positions of a row");
    if (e.evaluation.context > 1)
      problems.add(place_of(loaded.tree, "eval.context"), "eval.context counts the tokens of a row; leave it out");
    return;
  }
  if (!e.evaluation.carry_state) return;
  const TokenDataSet& data = token_data(any);
  if (data.held_out_batches(1, e.train.context, 1) == 0) return;
  const ShapeOnly shape_only;
  if (data.held_out_batch(0, 1, e.train.context).is_task) {
    problems.add(place_of(loaded.tree, "eval.carry_state"), no_state_between_examples);
  }
}

// Models with a longest sequence refuse longer rows; those of the evaluation would come after hours of training.
void check_row_length(const LoadedExperiment& loaded, LanguageModel& model, const std::string& key, const Batch& rows,
                      Diagnostics& problems) {
  const std::int64_t length = rows.tokens.shape()[1];
  ForwardContext forward;
  forward.training = key == "train.context";
  try {
    pass_shapes(model, 1, length, forward);
  } catch (const Error& error) {
    const std::string set = rows.evaluation_set.empty() ? "" : fmt::format(" of the set '{}'", rows.evaluation_set);
    problems.add(place_of(loaded.tree, rows.is_task ? "data" : key),
                 fmt::format("{}: the model takes no rows of {} tokens{}: {}", rows.is_task ? "data" : key, length, set,
                             error.what()));
  }
}

void check_row_lengths(const LoadedExperiment& loaded, const DataSet& any, Module& module, Diagnostics& problems) {
  auto* const model = dynamic_cast<LanguageModel*>(&module);
  const auto* const tokens = dynamic_cast<const TokenDataSet*>(&any);
  if (model == nullptr || tokens == nullptr) return;
  const TokenDataSet& data = *tokens;
  const Experiment& e = loaded.experiment;
  const std::size_t before = problems.size();
  const ShapeOnly shape_only;
  check_row_length(loaded, *model, "train.context", data.training_batch(0, 1, e.train.context), problems);
  if (problems.size() != before) return;
  const std::int64_t context = e.evaluation.context > 0 ? e.evaluation.context : e.train.context;
  const std::int64_t batches = data.held_out_batches(1, context, e.evaluation.batches);
  std::set<std::string> seen;  // The first batches of a task are one of each set.
  for (std::int64_t i = 0; i < batches; ++i) {
    const Batch rows = data.held_out_batch(i, 1, context);
    if (!seen.insert(rows.evaluation_set).second) break;
    check_row_length(loaded, *model, "eval.context", rows, problems);
  }
}

}  // namespace

std::vector<ProbeSite> list_probes(Module& model, std::int64_t batch, std::int64_t context) {
  ProbeLister lister;
  ForwardContext forward;
  forward.probes = &lister;
  forward.training = true;
  pass_shapes(model, batch, context, forward);
  return lister.sites;
}

std::unique_ptr<Module> build_model(const LoadedExperiment& loaded) {
  const Experiment& e = loaded.experiment;
  const Node* const size = loaded.tree.find_path("model.vocabulary_size");
  const bool needs_data = size == nullptr || size->integer() == 0;
  std::unique_ptr<Module> model;
  Diagnostics problems;
  attempt(problems, loaded.tree, "model",
          [&] { model = build_model(e, needs_data && e.data ? site_of(*build_data(loaded)) : ModelSite()); });
  problems.throw_if_any();
  return model;
}

BuiltExperiment build_experiment(const LoadedExperiment& loaded) {
  const Experiment& e = loaded.experiment;
  if (!e.data) {
    const bool reads_images = !objective_of_model(e.model.kind).empty();
    throw_problem(
        loaded.tree.place(), "this file has no 'data', so there is nothing to train on",
        fmt::format("add data: {}; without data a file can only be described",
                    reads_images ? "{kind: textured_shapes} or others made of images" : "{kind: text, files: [...]}"));
  }
  BuiltExperiment built;
  built.data = build_data(loaded);
  Diagnostics problems;
  check_carried_evaluation(loaded, *built.data, problems);
  const auto step = [&](const std::string& path, auto&& body) { attempt(problems, loaded.tree, path, body); };
  step("model", [&] { built.model = build_model(e, site_of(*built.data)); });
  step("train.schedule", [&] {
    make_schedule(e.train.schedule, {e.train.learning_rate, e.train.steps, e.train.tokens_per_step()});
  });
  if (built.model && e.evaluation.carry_state) {
    step("eval.carry_state", [&] { refuse_growing_state(*built.model, "eval.carry_state"); });
  }
  if (built.model) {
    if (problems.empty()) check_initial_weights(loaded, *built.model, *built.data);
    step(tunes_base_weights(e.train.tune) ? "train.tune" : "train.parameter_groups", [&] {
      make_tuning(e.train.tune, {built.model.get(), e.train.parameter_policy(), e.seed});
    });
    step("train.objective", [&] {
      built.objective =
          make_objective(e.train.objective, {built.model.get(), built.data.get(), e.train.batch, e.train.context});
    });
    const std::size_t before = problems.size();
    check_row_lengths(loaded, *built.data, *built.model, problems);
    if (problems.size() == before) step("model", [&] { check_probes(loaded, *built.model, problems); });
  }
  problems.throw_if_any();
  return built;
}

}  // namespace rwkvlab
