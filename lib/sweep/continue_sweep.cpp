// Whether a changed experiment file still asks for the runs that its sweep folder holds.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "run/run_folder.h"
#include "sweep/plan.h"
#include "sweep/variant_labels.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

const PlannedVariant* find_variant(const SweepPlan& plan, const std::string& label) {
  const auto found = std::find_if(plan.variants.begin(), plan.variants.end(),
                                  [&](const PlannedVariant& variant) { return variant.label == label; });
  return found == plan.variants.end() ? nullptr : &*found;
}

Node without_seed(Node tree) {
  std::erase_if(tree.map(), [](const MapEntry& entry) { return entry.key == "seed"; });
  return tree;
}

std::vector<std::string> differences(const SweepPlan& plan, const SweepPlan& earlier) {
  std::vector<std::string> result;
  for (const PlannedVariant& old : earlier.variants) {
    const PlannedVariant* const same = find_variant(plan, old.label);
    if (same == nullptr) {
      result.push_back(fmt::format("variant {} is gone", quote(old.label)));
      continue;
    }
    for (const std::string& line : blocking_differences(without_seed(old.loaded.tree), without_seed(same->loaded.tree)))
      result.push_back(fmt::format("variant {}: {}", quote(old.label), line));
    // A single run may grow; seeds of which some went on after a shorter schedule must not share an average.
    const std::int64_t before = old.loaded.experiment.train.steps, now = same->loaded.experiment.train.steps;
    if (now > before) result.push_back(fmt::format("variant {}: train.steps: {} -> {}", quote(old.label), before, now));
  }
  for (const SweepRun& old : earlier.record.runs) {
    const bool is_there = find_variant(plan, old.variant) == nullptr ||
                          std::any_of(plan.record.runs.begin(), plan.record.runs.end(), [&](const SweepRun& run) {
                            return run.variant == old.variant && run.seed == old.seed;
                          });
    if (!is_there) result.push_back(fmt::format("variant {}: seed {} is gone", quote(old.variant), old.seed));
  }
  return result;
}

// What both have keeps its folder; the others get names that are free.
void keep_folders(SweepPlan& plan, const SweepPlan& earlier) {
  std::vector<std::string> taken;
  for (const PlannedVariant& old : earlier.variants) taken.push_back(old.folder);
  for (PlannedVariant& variant : plan.variants) {
    const PlannedVariant* const old = find_variant(earlier, variant.label);
    variant.folder = old == nullptr ? folder_name(variant.label, taken) : old->folder;
  }
  for (SweepRun& run : plan.record.runs)
    run.folder = fs::path("runs") / plan.variant_of(run).folder / fmt::format("seed-{}", run.seed);
}

}  // namespace

void continue_sweep(SweepPlan& plan, const SweepRecord& before) {
  const SweepPlan earlier = plan_sweep(before);
  const std::vector<std::string> found = differences(plan, earlier);
  if (found.empty()) return keep_folders(plan, earlier);
  constexpr std::size_t shown = 20;
  std::string list;
  for (std::size_t i = 0; i < std::min(found.size(), shown); ++i) list += "\n  " + found[i];
  if (found.size() > shown) list += fmt::format("\n  ... and {} more", found.size() - shown);
  throw ConfigError(fmt::format(
      "--resume: the sweep differs from the one in its folder:{}\nVariants and seeds may be added, and 'log' and how "
      "often checkpoints are written may change; undo the other changes, or start a new sweep with --out",
      list));
}

}  // namespace rwkvlab
