// What shows only when the variants of a sweep are built.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "sweep/plan.h"

namespace rwkvlab {
namespace {

/// "model.width (own.yaml:6:30), ...": what a variant sets, and where its values are written.
std::string settings_text(const SweepPlan& plan, const std::string& variant) {
  constexpr std::size_t most = 6;
  const auto run = std::find_if(plan.record.runs.begin(), plan.record.runs.end(),
                                [&](const SweepRun& candidate) { return candidate.variant == variant; });
  if (run == plan.record.runs.end()) return "";
  std::string text;
  const Node::Map& settings = run->settings.map();
  for (std::size_t i = 0; i < std::min(settings.size(), most); ++i) {
    const Place& place = settings[i].value.place().source ? settings[i].value.place() : settings[i].place;
    text += fmt::format("{}{}", i == 0 ? "" : ", ", settings[i].key);
    if (place.source) text += fmt::format(" ({})", place.position().text());
  }
  return text + (settings.size() > most ? ", ..." : "");
}

/// What the building of variants complained about, each message once with the first variant that has it.
class BuildFailures {
 public:
  void add(const std::string& variant, const std::string& message, bool is_data) {
    is_all_data_ = is_all_data_ && is_data;
    for (Entry& entry : entries_) {
      if (entry.message != message) continue;
      ++entry.count;
      return;
    }
    entries_.push_back({message, variant, 1});
  }
  /// Throws a ConfigError, or a DataError when all that is wrong is data.
  void throw_if_any(const SweepPlan& plan) const {
    if (entries_.empty()) return;
    std::string text;
    for (const Entry& entry : entries_) {
      text += (text.empty() ? "" : "\n") + entry.message;
      if (entry.count == plan.variants.size()) continue;
      text += fmt::format("{}  variant: {}", text.ends_with('\n') ? "" : "\n", quote(entry.first));
      if (entry.count > 1) text += fmt::format(" and {} more", entry.count - 1);
      const std::string settings = settings_text(plan, entry.first);
      if (!settings.empty()) text += ", which sets " + settings;
    }
    if (is_all_data_) throw DataError(text);
    throw ConfigError(text);
  }

 private:
  struct Entry {
    std::string message;
    std::string first;
    std::size_t count;
  };
  std::vector<Entry> entries_;
  bool is_all_data_ = true;
};

LoadedExperiment with_seed(const PlannedVariant& variant, std::uint64_t seed) {
  LoadedExperiment loaded = variant.loaded;
  if (Node* const found = loaded.tree.find("seed")) {
    *found = Node(seed);
  } else {
    loaded.tree.insert("seed", Node(seed));
  }
  loaded.experiment.seed = seed;
  return loaded;
}

}  // namespace

void check_variants(const SweepPlan& plan) {
  BuildFailures failures;
  for (const PlannedVariant& variant : plan.variants) {
    try {
      build_experiment(with_seed(variant, plan.record.runs.front().seed));
    } catch (const ConfigError& error) {
      failures.add(variant.label, error.what(), false);
    } catch (const DataError& error) {
      failures.add(variant.label, error.what(), true);
    }
  }
  failures.throw_if_any(plan);
}

}  // namespace rwkvlab
