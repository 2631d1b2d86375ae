#include "sweep/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "config/compose.h"
#include "config/resolve.h"
#include "config/yaml_writer.h"
#include "sweep/axes.h"
#include "sweep/variant_labels.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

template <class T>
const Schema& schema_of() {
  static const Schema schema = make_schema<T>([](Fields<T>& f) { describe(f); });
  return schema;
}

constexpr std::uint64_t most_seeds = 1000;

std::string key_of(const Problem& problem) {
  return fmt::format("{}\n{}\n{}", problem.place.position().text(), problem.place.short_text(), problem.message);
}

/// The problems of many variants, each once; where not all variants have one, it says which do.
class SharedProblems {
 public:
  void add(const std::string& variant, const Diagnostics& problems) {
    std::set<std::string> seen;
    for (const Problem& problem : problems.problems()) {
      const std::string key = key_of(problem);
      if (!seen.insert(key).second) continue;
      const auto [at, is_new] = index_.emplace(key, entries_.size());
      if (is_new) entries_.push_back({problem, variant, 0});
      ++entries_[at->second].count;
    }
  }
  void move_to(Diagnostics& problems, std::size_t variants) const {
    for (const Entry& entry : entries_) {
      std::string hint = entry.problem.hint;
      if (entry.count < variants) {
        const std::string others = entry.count > 1 ? fmt::format(" and {} more", entry.count - 1) : "";
        hint += fmt::format("{}variant: {}{}", hint.empty() ? "" : "\n  ", quote(entry.first), others);
      }
      problems.add(entry.problem.place, entry.problem.message, hint);
    }
  }

 private:
  struct Entry {
    Problem problem;
    std::string first;
    std::size_t count = 0;
  };
  std::vector<Entry> entries_;
  std::map<std::string, std::size_t> index_;
};

/// Shallow paths first, and a kind before the parameters of its block, so that no setting undoes another.
void sort_settings(std::vector<PathSetting>& settings) {
  const auto depth = [](const PathSetting& setting) {
    const auto dots = 2 * std::count(setting.path.begin(), setting.path.end(), '.');
    return setting.path.ends_with(".kind") ? dots - 1 : dots;
  };
  std::stable_sort(settings.begin(), settings.end(),
                   [&](const PathSetting& a, const PathSetting& b) { return depth(a) < depth(b); });
}

void set_key(Node& tree, const std::string& key, Node value) {
  if (Node* const found = tree.find(key)) {
    *found = std::move(value);
  } else {
    tree.insert(key, std::move(value));
  }
}

/// Plans variants one after another; every source of variants (a file, a record) goes through here.
class Planner {
 public:
  Planner(fs::path file, const Node& base, std::string name)
      : file_(std::move(file)), base_(base), name_(std::move(name)) {
    std::erase_if(base_.map(), [](const MapEntry& entry) { return entry.key == "seed"; });
  }

  /// Adds a variant and returns what it sets, with absolute paths.
  Node add(const std::string& label, std::vector<PathSetting> settings, const std::string& folder) {
    Diagnostics problems, missing;
    PlannedVariant variant{label, folder, base_, {}};
    set_key(variant.file, "name", Node(shortened(fmt::format("{}-{}", name_, folder))));
    sort_settings(settings);
    for (const PathSetting& setting : settings)
      apply_path(variant.file, setting.path, setting.value, setting.place, problems);
    if (problems.empty()) variant.loaded = resolve_experiment(file_, variant.file, problems, missing);
    problems_.add(label, problems);
    missing_.add(label, missing);
    Node set{Node::Map{}};
    for (const PathSetting& setting : settings) {
      const Node* const value = variant.file.find_path(setting.path);
      set.insert(setting.path, value == nullptr ? setting.value : *value, setting.place);
    }
    variants.push_back(std::move(variant));
    return set;
  }

  void throw_problems(Diagnostics problems) const {
    Diagnostics missing;
    problems_.move_to(problems, variants.size());
    missing_.move_to(missing, variants.size());
    rwkvlab::throw_problems(std::move(problems), missing);
  }

  std::vector<PlannedVariant> variants;

 private:
  // Names of runs may have 200 bytes; a letter must not be cut.
  static std::string shortened(std::string name) {
    if (name.size() <= 180) return name;
    std::size_t end = 180;
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;
    return name.substr(0, end);
  }

  fs::path file_;
  Node base_;
  std::string name_;
  SharedProblems problems_, missing_;
};

std::vector<std::uint64_t> read_seeds(const Node& seeds, const Node& base, Diagnostics& problems) {
  std::uint64_t first = 1;
  const Node* const own = base.find("seed");
  if (own != nullptr) {
    const auto converted = convert_scalar(*own, ScalarType::uint64);
    if (!converted) {
      problems.add(own->place(), "'seed' must be an integer of 0 or more, found " + own->description());
      return {};
    }
    first = converted->unsigned_integer();
  }
  if (seeds.is_null()) return {first};
  const auto wrong = [&](const Node& at, const std::string& message) {
    problems.add(at.place(), message, "write seeds: 3 (so many runs of each variant) or a list: [1, 5, 9]");
  };
  std::vector<std::uint64_t> result;
  if (!seeds.is_list()) {
    const auto count = convert_scalar(seeds, ScalarType::uint64);
    if (!count || count->unsigned_integer() < 1 || count->unsigned_integer() > most_seeds ||
        first > std::numeric_limits<std::uint64_t>::max() - most_seeds) {
      wrong(seeds,
            fmt::format("'seeds' must be 1 to {}, or a list of seeds, found {}", most_seeds, seeds.description()));
      return {};
    }
    for (std::uint64_t i = 0; i < count->unsigned_integer(); ++i) result.push_back(first + i);
    return result;
  }
  if (seeds.list().empty()) wrong(seeds, "'seeds' must not be empty");
  for (const Node& item : seeds.list()) {
    const auto seed = convert_scalar(item, ScalarType::uint64);
    if (!seed) {
      wrong(item, "a seed must be an integer of 0 or more, found " + item.description());
    } else if (std::find(result.begin(), result.end(), seed->unsigned_integer()) != result.end()) {
      wrong(item, fmt::format("the seed {} is there twice", seed->unsigned_integer()));
    } else {
      result.push_back(seed->unsigned_integer());
    }
  }
  return result;
}

/// Axes that a section names must exist.
void check_axes(const Node* names, const std::vector<std::string>& axes, const std::string& what,
                Diagnostics& problems) {
  if (names == nullptr || !names->is_list()) return;
  for (const Node& name : names->list()) {
    if (!name.is_string() || std::find(axes.begin(), axes.end(), name.string()) != axes.end()) continue;
    problems.add(name.place(),
                 fmt::format("'{}' names {}, which is no axis of the sweep{}", what, quote(name.string()),
                             did_you_mean(name.string(), axes)),
                 axes.empty() ? "this sweep has no axes" : "axes: " + join_names(axes));
  }
}

/// The section under `key`, resolved; null after a problem.
template <class T>
std::optional<std::pair<Node, T>> section(const Node& tree, const std::string& key, Diagnostics& problems) {
  if (!tree.is_map() && !tree.is_null()) {
    problems.add(tree.place(), fmt::format("'{}' must be a map, found {}", key, tree.description()),
                 "its keys are: " + join_names(schema_of<T>().keys()));
    return std::nullopt;
  }
  ResolvedBlock block = resolve_block(tree, schema_of<T>(), fmt::format("block '{}'", key), problems);
  if (!block.object) return std::nullopt;
  return std::pair(std::move(block.tree), std::move(*static_cast<T*>(block.object.get())));
}

/// All combinations, the first step varying slowest.
std::vector<Alternative> multiply(const std::vector<SweepStep>& steps) {
  std::vector<Alternative> variants = {{}};
  for (const SweepStep& step : steps) {
    std::vector<Alternative> longer;
    for (const Alternative& variant : variants) {
      for (const Alternative& chosen : step.alternatives) {
        Alternative both = variant;
        both.axes.insert(both.axes.end(), chosen.axes.begin(), chosen.axes.end());
        both.settings.insert(both.settings.end(), chosen.settings.begin(), chosen.settings.end());
        both.label += (both.label.empty() ? "" : " ") + chosen.label;
        both.place = chosen.place;
        longer.push_back(std::move(both));
      }
    }
    variants = std::move(longer);
  }
  if (steps.empty()) variants.front().label = "base";
  return variants;
}

std::string axes_text(const Alternative& variant) {
  std::string text;
  for (const AxisValue& axis : variant.axes) text += (text.empty() ? "" : ", ") + axis.axis + ": " + axis.label;
  return "{" + text + "}";
}

void check_labels(const std::vector<Alternative>& variants, const Place& label, Diagnostics& problems) {
  std::map<std::string, const Alternative*> first;
  std::set<std::string> said;
  for (const Alternative& variant : variants) {
    const auto [known, is_new] = first.emplace(variant.label, &variant);
    if (is_new || !said.insert(variant.label).second) continue;
    problems.add(label.source ? label : variant.place,
                 fmt::format("two variants have the label {}: {} and {}", quote(variant.label),
                             axes_text(*known->second), axes_text(variant)),
                 "labels tell variants apart; write a different value or label, or name every axis in sweep.label");
  }
}

/// "1, 2, 3"; of many, how many there are.
std::string seeds_text(const std::vector<std::uint64_t>& seeds) {
  constexpr std::size_t most = 10;
  if (seeds.size() <= most) return fmt::format("{}", fmt::join(seeds, ", "));
  return fmt::format("{}, {}, ..., {}: {} seeds", seeds[0], seeds[1], seeds.back(), seeds.size());
}

}  // namespace

const PlannedVariant& SweepPlan::variant_of(const SweepRun& run) const {
  for (const PlannedVariant& variant : variants)
    if (variant.label == run.variant) return variant;
  throw BugError("a run of a sweep has no variant");
}

SweepPlan plan_sweep(const ExperimentFile& file) {
  Diagnostics problems = file.problems;
  const auto sweep = section<SweepParams>(file.sweep, "sweep", problems);
  const auto table = section<TableParams>(file.table, "table", problems);
  if (!sweep) problems.throw_if_any();
  const auto& [tree, params] = *sweep;
  const std::vector<std::uint64_t> seeds = read_seeds(params.seeds, file.tree, problems);
  const std::vector<SweepStep> steps = read_steps(tree, params, seeds.size(), problems);
  problems.throw_if_any();

  SweepPlan plan;
  SweepRecord& record = plan.record;
  const Node* const name = file.tree.find("name");
  record.name = name != nullptr && name->is_string() ? name->string() : "sweep";
  record.sweep = file.sweep;
  for (const SweepStep& step : steps) record.axes.insert(record.axes.end(), step.axes.begin(), step.axes.end());
  if (params.best_of) {
    record.best_of = best_of(*params.best_of);
    check_axes(tree.find_path("best_of.over"), record.axes, "over", problems);
  }
  record.table = table->second;
  for (const char* const key : {"rows", "columns"}) check_axes(table->first.find(key), record.axes, key, problems);
  if (!params.label.empty()) check_label(*tree.find("label"), record.axes, problems);
  problems.throw_if_any();

  std::vector<Alternative> variants = multiply(steps);
  if (!params.label.empty())
    for (Alternative& variant : variants) variant.label = fill_in_label(params.label, variant.axes);
  check_labels(variants, params.label.empty() ? Place{} : tree.find("label")->place(), problems);

  Planner planner(file.file, file.tree, record.name);
  std::vector<std::string> folders;
  for (const Alternative& variant : variants) {
    const std::string folder = folder_name(variant.label, folders);
    SweepRun run{variant.label, variant.axes, 1, "", planner.add(variant.label, variant.settings, folder)};
    for (const std::uint64_t seed : seeds) {
      run.seed = seed;
      run.folder = fs::path("runs") / folder / fmt::format("seed-{}", seed);
      record.runs.push_back(run);
    }
  }
  planner.throw_problems(std::move(problems));
  plan.variants = std::move(planner.variants);
  record.experiment = file.tree;
  Diagnostics known;  // That files are missing in the base alone does not matter.
  resolve_experiment(file.file, record.experiment, known, known);
  return plan;
}

SweepPlan plan_sweep(const SweepRecord& record) {
  SweepPlan plan;
  plan.record = record;
  Planner planner(record.experiment.place().source ? record.experiment.place().source->name : "sweep.yaml",
                  record.experiment, record.name);
  for (const SweepRun& run : record.runs) {
    if (!planner.variants.empty() && planner.variants.back().label == run.variant) continue;
    std::vector<PathSetting> settings;
    for (const MapEntry& entry : run.settings.map()) settings.push_back({entry.key, entry.place, entry.value});
    planner.add(run.variant, std::move(settings), run.folder.parent_path().filename().string());
  }
  planner.throw_problems({});
  plan.variants = std::move(planner.variants);
  return plan;
}

bool matches_label(std::string_view label, std::string_view pattern) {
  // To the patterns of file names, a slash and a leading dot mean something.
  const auto plain = [](std::string_view text) {
    std::string result = "x";
    for (const char c : text) result += c == '/' ? '\x1f' : c;
    return result;
  };
  return matches_glob(plain(label), plain(pattern));
}

std::string sweep_summary(const SweepPlan& plan) {
  const std::size_t variants = plan.variants.size(), runs = plan.record.runs.size();
  std::string text =
      fmt::format("{} variant{}, {} run{}\n", variants, variants == 1 ? "" : "s", runs, runs == 1 ? "" : "s");
  for (std::size_t i = 0; i < runs;) {  // The runs of a variant follow each other.
    const std::string& label = plan.record.runs[i].variant;
    std::vector<std::uint64_t> seeds;
    for (; i < runs && plan.record.runs[i].variant == label; ++i) seeds.push_back(plan.record.runs[i].seed);
    text += fmt::format("  {}  (seed {})\n", label, seeds_text(seeds));
  }
  return text;
}

}  // namespace rwkvlab
