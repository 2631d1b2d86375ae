#include "analysis/sweep_membership.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "config/diagnostics.h"
#include "run/experiment.h"
#include "run/run_folder.h"

namespace rwkvlab {

namespace fs = std::filesystem;

namespace {

// Where a value that a variant sets is not in the configuration of its run, or "". Texts are left out: names of files
// are made absolute.
std::string foreign_key(const Node& wanted, const Node* found, const std::string& path) {
  if (wanted.is_map()) {
    for (const MapEntry& entry : wanted.map()) {
      const std::string key = path.empty() ? entry.key : path + "." + entry.key;
      // Keys of the settings are paths themselves.
      const Node* const below = found == nullptr ? nullptr : found->find_path(entry.key);
      if (std::string wrong = foreign_key(entry.value, below, key); !wrong.empty()) return wrong;
    }
    return "";
  }
  if (wanted.is_null() || wanted.is_list()) return "";
  if (wanted.is_string()) {
    const bool is_kind = path.ends_with(".kind");
    return is_kind && found != nullptr && found->is_string() && found->string() != wanted.string() ? path : "";
  }
  if (found == nullptr) return path;
  const auto is_number = [](const Node& node) {
    return node.type() == Node::Type::integer || node.type() == Node::Type::number;
  };
  if (is_number(wanted) && is_number(*found)) return wanted.number() == found->number() ? "" : path;
  return wanted == *found ? "" : path;
}

// With today's defaults, if the program still understands it: older files lack keys that came later.
Node with_defaults(const fs::path& file, const Node& config) {
  Diagnostics problems, missing;
  Node tree = config;
  const LoadedExperiment loaded = resolve_experiment(file, tree, problems, missing);
  return problems.empty() && loaded.tree.is_map() ? loaded.tree : config;
}

// The experiment that a sweep folder holds for a variant; null when there is none that can be read.
Node experiment_of(const fs::path& sweep, const SweepRun& run) {
  const fs::path file = sweep / "experiments" / (run.folder.parent_path().filename().string() + ".yaml");
  try {
    return with_defaults(file, read_experiment_file(file).tree);
  } catch (const Error&) {
    return {};
  }
}

// Where a run has another configuration than the experiment of its variant, in more than may change on resuming.
std::string differences_from(const Node& experiment, const ComparedRun& run) {
  if (!experiment.is_map()) return "";
  const auto comparable = [](Node tree) {
    // Notes of the table tell of runs that were continued.
    std::erase_if(tree.map(), [](const MapEntry& entry) { return entry.key == "seed"; });
    if (Node* const train = tree.find("train"); train != nullptr && train->is_map())
      std::erase_if(train->map(), [](const MapEntry& entry) { return entry.key == "steps"; });
    return tree;
  };
  const std::vector<std::string> lines =
      blocking_differences(comparable(experiment), comparable(with_defaults(run.run_file, run.config)));
  constexpr std::size_t most = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(lines.size(), most); ++i) text += "\n  " + lines[i];
  return lines.size() > most ? fmt::format("{}\n  ... and {} more", text, lines.size() - most) : text;
}

}  // namespace

void MembershipCheck::require(const ComparedRun& run, const SweepRun& planned) {
  if (!run.config.is_map()) return;
  if (planned.variant != variant_ || !is_loaded_) experiment_ = experiment_of(sweep_, planned);
  variant_ = planned.variant;
  is_loaded_ = true;
  constexpr const char* advice = "Remove the folder and run the sweep again with --resume.";
  // First what can name both values.
  if (const std::string differences = differences_from(experiment_, run); !differences.empty()) {
    throw DataError(fmt::format(
        "{}: this run does not belong to the sweep '{}': the experiment of the variant '{}' -> this run:{}\n{}",
        run.folder.string(), sweep_.string(), run.variant, differences, advice));
  }
  const Node* const seed = run.config.find("seed");
  std::string key = foreign_key(planned.settings, &run.config, "");
  if (key.empty() && seed != nullptr && seed->is_unsigned_integer() && seed->unsigned_integer() != run.seed)
    key = "seed";
  if (key.empty() && seed != nullptr && !seed->is_unsigned_integer() &&
      static_cast<std::uint64_t>(seed->integer()) != run.seed) {
    key = "seed";
  }
  if (!key.empty()) {
    throw DataError(fmt::format(
        "{}: this run does not belong to the sweep '{}': its '{}' is not what sweep.yaml says for the variant '{}' "
        "with seed {}. {}",
        run.folder.string(), sweep_.string(), key, run.variant, run.seed, advice));
  }
}

}  // namespace rwkvlab
