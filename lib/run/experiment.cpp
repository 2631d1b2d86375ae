#include "run/experiment.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "config/compose.h"
#include "config/diagnostics.h"
#include "config/registry.h"
#include "config/resolve.h"
#include "config/yaml_writer.h"
#include "models/image_model.h"
#include "run/path_values.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

const RegisterSlot data_slot_doc(data_slot, "What a model is trained on.");

// A name becomes a folder below runs/.
std::string check_name(const Experiment& e) {
  const bool is_folder = !e.name.empty() && e.name != "." && e.name != ".." && e.name.size() <= 200 &&
                         std::all_of(e.name.begin(), e.name.end(), [](char c) {
                           return c != '/' && c != '\\' && static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
                         });
  return is_folder ? "" : "'name' must be usable as the name of a folder, without slashes";
}

void describe_experiment(Fields<Experiment>& f) {
  using E = Experiment;
  f.doc(
      "An experiment file says everything about one run. It may start from other files with `extends`. Every value has "
      "a default except those marked required.");
  f.add("name", &E::name,
        "name of the run and of its folder; empty: named after the file, or after its folder when the file is called "
        "experiment.yaml");
  f.add("seed", &E::seed, "seed of the initial weights, the batch order and dropout");
  f.kind("model", &E::model, "model", "what is trained", "language_model");
  f.optional_kind("data", &E::data, data_slot, "what it is trained on; a file without data can be described, not run");
  f.section(
      "train", &E::train, [](Fields<TrainParams>& below) { describe(below); }, "the training");
  f.section(
      "eval", &E::evaluation, [](Fields<EvaluationParams>& below) { describe(below); }, "evaluation on held-out data");
  f.section(
      "log", &E::log, [](Fields<LogParams>& below) { describe(below); }, "what the run file holds");
  f.section(
      "sweep", &E::sweep, [](Fields<SweepParams>& below) { describe(below); },
      "what varies, which makes the file one of many runs (see docs/sweeps.md)");
  f.section(
      "table", &E::table, [](Fields<TableParams>& below) { describe(below); }, "how `rwkvlab table` shows the sweep");
  f.check(check_name, "name");
}

std::string name_for(const fs::path& file) {
  const fs::path absolute = fs::absolute(file).lexically_normal();
  const std::string stem = absolute.stem().string();
  return stem == "experiment" ? absolute.parent_path().filename().string() : stem;
}

void fill_in_name(Node& tree, const fs::path& file) {
  Node* const name = tree.find("name");
  if (name == nullptr) {
    if (tree.is_map()) tree.insert("name", Node(name_for(file)));
  } else if (name->is_string() && name->string().empty()) {
    *name = Node(name_for(file));
  }
}

// The kind that a choice names; empty when it names none.
std::string kind_of(const Node* choice) {
  const Node* const kind = choice == nullptr ? nullptr : choice->find("kind");
  return kind != nullptr && kind->is_string() ? kind->string() : "";
}

// A model of images has an objective of its own, and an image has no tokens that `train.context` could count: it is
// one.
void fill_in_for_images(Node& tree, Diagnostics& problems) {
  const std::string objective = objective_of_model(kind_of(tree.find("model")));
  if (objective.empty()) return;
  if (tree.find("train") == nullptr) tree.insert("train", Node(Node::Map{}));
  Node& train = *tree.find("train");
  if (!train.is_map()) return;
  if (train.find("objective") == nullptr) train.insert("objective", Node(Node::Map{})).insert("kind", Node(objective));
  const Node* const context = train.find("context");
  if (context == nullptr) {
    train.insert("context", Node(1));
  } else if (!(*context == Node(1))) {
    problems.add(context->place(), "train.context counts the tokens of a row, and a row of images is one image",
                 "leave it out, or set train.context: 1 where a file that this one extends says something else");
  }
}

// Moves the value of a key out of a map; null when there is none.
Node take(Node& tree, const std::string& key) {
  Node* const found = tree.find(key);
  if (found == nullptr) return Node();
  Node value = std::move(*found);
  std::erase_if(tree.map(), [&](const MapEntry& entry) { return entry.key == key; });
  return value;
}

}  // namespace

const Schema& experiment_schema() {
  static const Schema schema = make_schema<Experiment>(describe_experiment);
  return schema;
}

std::string LoadedExperiment::text() const { return to_yaml(tree); }

ExperimentFile read_experiment_file(const fs::path& file, const std::vector<std::string>& settings) {
  ExperimentFile read;
  read.file = file;
  read.tree = compose(file, settings, read.problems);
  fill_in_name(read.tree, file);
  read.sweep = take(read.tree, "sweep");
  read.table = take(read.tree, "table");
  return read;
}

LoadedExperiment resolve_experiment(const fs::path& file, Node& tree, Diagnostics& problems, Diagnostics& missing) {
  fill_in_for_images(tree, problems);
  make_paths_absolute(tree, experiment_schema(), missing);
  ResolvedBlock block = resolve_block(tree, experiment_schema(), "", problems);
  LoadedExperiment loaded;
  loaded.file = file;
  loaded.tree = std::move(block.tree);
  if (loaded.tree.is_map()) {
    std::erase_if(loaded.tree.map(),
                  [](const MapEntry& entry) { return entry.key == "sweep" || entry.key == "table"; });
  }
  if (block.object) loaded.experiment = *static_cast<Experiment*>(block.object.get());
  return loaded;
}

void throw_problems(Diagnostics problems, const Diagnostics& missing) {
  if (problems.empty() && !missing.empty()) {
    std::string message = missing.text();
    message.pop_back();
    throw DataError(message);
  }
  for (const Problem& problem : missing.problems()) problems.add(problem.place, problem.message, problem.hint);
  problems.throw_if_any();
}

LoadedExperiment load_experiment(const ExperimentFile& read) {
  Diagnostics problems = read.problems, missing;
  Node tree = read.tree;
  if (!read.sweep.is_null()) tree.insert("sweep", read.sweep);
  if (!read.table.is_null()) tree.insert("table", read.table);
  LoadedExperiment loaded = resolve_experiment(read.file, tree, problems, missing);
  throw_problems(std::move(problems), missing);
  return loaded;
}

LoadedExperiment load_experiment(const fs::path& file, const std::vector<std::string>& settings) {
  return load_experiment(read_experiment_file(file, settings));
}

}  // namespace rwkvlab
