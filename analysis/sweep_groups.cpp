#include "analysis/sweep_groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "base/nearest.h"
#include "config/diagnostics.h"

namespace rwkvlab {
namespace {

constexpr std::string_view metrics_prefix = "metrics/";

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::string> labels_of(const ComparedRun& run, const std::vector<std::string>& axes) {
  std::vector<std::string> labels;
  labels.reserve(axes.size());
  for (const std::string& axis : axes) labels.push_back(run.label(axis));
  return labels;
}

// Two runs that agree on `known` and differ on `axis`; null when there are none.
std::pair<const ComparedRun*, const ComparedRun*> pair_apart(const std::vector<ComparedRun>& runs,
                                                             const std::string& axis,
                                                             const std::vector<std::string>& known) {
  std::map<std::vector<std::string>, const ComparedRun*> first;
  for (const ComparedRun& run : runs) {
    const auto [at, is_new] = first.emplace(labels_of(run, known), &run);
    if (!is_new && at->second->label(axis) != run.label(axis)) return {at->second, &run};
  }
  return {nullptr, nullptr};
}

void require_axis(const SweepResults& results, const std::string& axis) {
  if (contains(results.axes, axis)) return;
  if (results.axes.empty()) {
    throw ConfigError(fmt::format("There is no axis {}: these runs differ in nothing but their seeds.", quote(axis)));
  }
  throw ConfigError(fmt::format("There is no axis {}{}. {}: {}", quote(axis), did_you_mean(axis, results.axes),
                                results.is_sweep ? "Axes of the sweep" : "The runs differ in",
                                join_names(results.axes)));
}

std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// A key below a section that is shown needs no axis of its own.
bool is_covered(const std::vector<std::string>& axes, const std::string& key) {
  return std::any_of(axes.begin(), axes.end(), [&](const std::string& axis) { return covers(axis, key); });
}

void check_all_shown(const SweepResults& results, const ShownAxes& shown) {
  const std::vector<std::string> known = joined(shown.axes, shown.reduced);
  for (const std::string& axis : results.axes) {
    if (contains(known, axis)) continue;
    const auto [a, b] = pair_apart(results.runs, axis, known);
    if (a == nullptr) continue;
    throw ConfigError(
        fmt::format("Runs that differ in '{0}' would be averaged: it is {1} in '{2}' and {3} in '{4}'. Show it (--rows "
                    "{0}; in figures --group {0}), or "
                    "leave out one of the runs.",
                    axis, a->label(axis), a->name, b->label(axis), b->name));
  }
}

// The runs of one group by their labels on the reduced axes.
using Candidates = std::vector<std::pair<std::vector<std::string>, std::vector<const ComparedRun*>>>;

Candidates candidates_of(const std::vector<const ComparedRun*>& runs, const std::vector<std::string>& reduced) {
  Candidates candidates;
  for (const ComparedRun* const run : runs) {
    const std::vector<std::string> labels = labels_of(*run, reduced);
    auto at = std::find_if(candidates.begin(), candidates.end(), [&](const auto& c) { return c.first == labels; });
    if (at == candidates.end()) at = candidates.insert(candidates.end(), {labels, {}});
    at->second.push_back(run);
  }
  return candidates;
}

std::string chosen_text(const std::vector<std::string>& labels) { return fmt::format("{}", fmt::join(labels, ", ")); }

// A value that failed for some seeds must not win because of the seeds that are left, so more seeds come first.
void choose_by_mean(RunGroup& group, const Candidates& candidates, const BestOf& rule, const ValueRule& value) {
  const auto* best = &candidates.front();
  std::pair<std::size_t, double> best_score{0, 0};
  for (const auto& candidate : candidates) {
    std::vector<double> values;
    for (const ComparedRun* const run : candidate.second) {
      const auto found = value_of(*run, rule.metric, value);
      if (found && std::isfinite(found->value)) values.push_back(found->value);
    }
    if (values.empty()) continue;
    const double mean = mean_and_deviation(values).mean;
    const std::pair score{values.size(), rule.maximize ? mean : -mean};
    if (best_score.first > 0 && score <= best_score) continue;
    best = &candidate;
    best_score = score;
  }
  group.runs = best->second;
  if (best_score.first > 0) group.chosen = chosen_text(best->first);
}

void choose_by_seed(RunGroup& group, const Candidates& candidates, const BestOf& rule, const ValueRule& value) {
  struct Best {
    const ComparedRun* run = nullptr;
    const std::vector<std::string>* labels = nullptr;
    double value = 0;
  };
  std::map<std::uint64_t, Best> best;
  for (const auto& [labels, runs] : candidates) {
    for (const ComparedRun* const run : runs) {
      Best& of_seed = best[run->seed];
      if (of_seed.run == nullptr) of_seed.run = run;
      const auto found = value_of(*run, rule.metric, value);
      if (!found || !std::isfinite(found->value)) continue;
      if (of_seed.labels != nullptr && (rule.maximize ? found->value <= of_seed.value : found->value >= of_seed.value))
        continue;
      of_seed = {run, &labels, found->value};
    }
  }
  std::vector<std::pair<std::string, int>> counts;
  for (const auto& [seed, of_seed] : best) {
    group.runs.push_back(of_seed.run);
    if (of_seed.labels == nullptr) continue;
    const std::string text = chosen_text(*of_seed.labels);
    const auto at = std::find_if(counts.begin(), counts.end(), [&](const auto& entry) { return entry.first == text; });
    if (at == counts.end()) {
      counts.emplace_back(text, 1);
    } else {
      ++at->second;
    }
  }
  for (const auto& [text, count] : counts) {
    group.chosen +=
        (group.chosen.empty() ? "" : ", ") + (counts.size() > 1 ? fmt::format("{} ({})", text, count) : text);
  }
}

}  // namespace

Direction direction_of(const std::string& metric) {
  for (const char* const word : {"loss", "perplexity", "bits", "error"}) {
    if (metric.find(word) != std::string::npos) return Direction::lower;
  }
  return metric.find("accuracy") != std::string::npos ? Direction::higher : Direction::unknown;
}

std::string metric_title(const SweepResults& results, const std::string& metric) {
  std::string title = metric, set;
  if (metric.starts_with("eval/")) {
    const std::string rest = metric.substr(5);
    const std::size_t slash = rest.rfind('/');
    title = "held-out " + rest.substr(slash == std::string::npos ? 0 : slash + 1);
    if (slash != std::string::npos) set = ", " + rest.substr(0, slash);
  } else if (metric.starts_with("train/")) {
    title = "training " + metric.substr(6);
  }
  std::replace(title.begin(), title.end(), '_', ' ');
  for (const ComparedRun& run : results.runs) {
    const auto found = run.metrics.find(metric);
    if (found == run.metrics.end() || found->second.unit == "1") continue;
    // "held-out bits per byte (bits per byte)" says it twice.
    const bool is_said = title.ends_with(found->second.unit);
    return title + set + (is_said ? "" : " (" + found->second.unit + ")");
  }
  return title + set;
}

std::string labelled(const std::string& axis, const std::string& label) {
  const std::size_t dot = axis.rfind('.');
  return dot == std::string::npos ? label : axis.substr(dot + 1) + " " + label;
}

std::optional<MetricValue> value_of(const ComparedRun& run, const std::string& metric, const ValueRule& rule) {
  if (!run.is_done() || run.metrics.count(metric) == 0) return std::nullopt;
  const ScalarSeries series = RunFileReader(run.file_of(metric)).scalars(std::string(metrics_prefix) + metric);
  std::size_t at = rule.record == "first" ? 0 : series.values.size() - 1;
  if (rule.record == "best") {
    if (rule.direction == Direction::unknown) {
      throw ConfigError(
          fmt::format("Whether a high or a low '{}' is better is not known, so there is no best record; "
                      "say --best max or --best min.",
                      metric));
    }
    const double sign = rule.direction == Direction::higher ? 1 : -1;
    for (std::size_t i = 0; i < series.values.size(); ++i) {
      const bool is_better = sign * series.values[i] > sign * series.values[at] || std::isnan(series.values[at]);
      if (is_better || (series.values[i] == series.values[at] && i < at)) at = i;
    }
  }
  return MetricValue{series.values[at], series.steps[at]};
}

std::vector<std::string> require_metrics(const SweepResults& results, const std::vector<std::string>& wanted) {
  std::set<std::string> recorded;
  for (const ComparedRun& run : results.runs) {
    for (const auto& [name, info] : run.metrics) recorded.insert(name);
  }
  if (wanted.empty()) {
    for (const char* const name : {"eval/accuracy", "eval/loss", "train/loss"}) {
      if (recorded.count(name) != 0) return {name};
    }
    return {"eval/loss"};
  }
  const std::vector<std::string> names(recorded.begin(), recorded.end());
  std::vector<std::string> metrics;
  for (const std::string& given : wanted) {
    const std::string name = given.starts_with(metrics_prefix) ? given.substr(metrics_prefix.size()) : given;
    if (contains(metrics, name)) throw ConfigError(fmt::format("The metric '{}' is named twice.", name));
    // Before anything is recorded every name may be right.
    if (!names.empty() && !contains(names, name)) {
      throw ConfigError(fmt::format("No run recorded the metric {}{}. Recorded: {}", quote(name),
                                    did_you_mean(name, names), join_names(names)));
    }
    metrics.push_back(name);
  }
  return metrics;
}

ShownAxes choose_axes(const SweepResults& results, const std::vector<std::string>& first, bool adds_others) {
  ShownAxes shown;
  for (const std::string& axis : first) {
    require_axis(results, axis);
    if (contains(shown.axes, axis)) throw ConfigError(fmt::format("The axis '{}' is named twice.", axis));
    shown.axes.push_back(axis);
  }
  if (results.best_of) {
    for (const std::string& axis : results.best_of->over) {
      if (!contains(shown.axes, axis)) shown.reduced.push_back(axis);
    }
  }
  if (!adds_others) return shown;
  for (const std::string& axis : results.axes) {
    const std::vector<std::string> known = joined(shown.axes, shown.reduced);
    if (contains(known, axis) || is_covered(known, axis)) continue;
    if (pair_apart(results.runs, axis, known).first != nullptr) shown.axes.push_back(axis);
  }
  return shown;
}

std::vector<RunGroup> group_runs(const SweepResults& results, const ShownAxes& shown, const std::string& record) {
  check_all_shown(results, shown);
  std::vector<std::map<std::string, std::size_t>> order(shown.axes.size());
  std::map<std::vector<std::size_t>, std::vector<const ComparedRun*>> by_labels;
  for (const ComparedRun& run : results.runs) {
    std::vector<std::size_t> key;
    for (std::size_t i = 0; i < shown.axes.size(); ++i) {
      key.push_back(order[i].emplace(run.label(shown.axes[i]), order[i].size()).first->second);
    }
    by_labels[key].push_back(&run);
  }
  std::vector<RunGroup> groups;
  for (const auto& [key, runs] : by_labels) {
    RunGroup& group = groups.emplace_back();
    group.labels = labels_of(*runs.front(), shown.axes);
    group.order = key;
    const Candidates candidates = candidates_of(runs, shown.reduced);
    for (const auto& [labels, of_one] : candidates) {
      std::map<std::uint64_t, const ComparedRun*> seeds;
      for (const ComparedRun* const run : of_one) {
        const auto [at, is_new] = seeds.emplace(run->seed, run);
        if (is_new) continue;
        throw ConfigError(
            fmt::format("'{}' and '{}' have the same configuration and the same seed ({}), so they are "
                        "not two samples; name one of them.",
                        at->second->name, run->name, run->seed));
      }
    }
    if (shown.reduced.empty() || !results.best_of) {
      group.runs = runs;
      continue;
    }
    const BestOf& rule = *results.best_of;
    const ValueRule value{record, rule.maximize ? Direction::higher : Direction::lower};
    rule.per_seed ? choose_by_seed(group, candidates, rule, value) : choose_by_mean(group, candidates, rule, value);
  }
  return groups;
}

std::string reduction_text(const SweepResults& results, const ShownAxes& shown) {
  if (shown.reduced.empty() || !results.best_of) return "";
  const BestOf& rule = *results.best_of;
  return fmt::format("Of {}, the value with the {} {}{} is shown{}.", list_text(shown.reduced),
                     rule.maximize ? "highest" : "lowest", rule.per_seed ? "" : "mean ", rule.metric,
                     rule.per_seed ? " for every seed" : "");
}

MeanAndDeviation mean_and_deviation(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  MeanAndDeviation result{std::numeric_limits<double>::quiet_NaN(), std::nullopt};
  if (values.empty()) return result;
  double sum = 0, squares = 0;
  for (const double value : values) sum += value;
  result.mean = sum / n;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  if (values.size() > 1) result.deviation = std::sqrt(squares / (n - 1));
  return result;
}

GroupStatistics statistics_of(const RunGroup& group, const std::string& metric, const ValueRule& rule) {
  GroupStatistics result;
  std::vector<double> values;
  for (const ComparedRun* const run : group.runs) {
    ++result.expected;
    if (run->state == ResultState::failed) ++result.failed;
    const auto found = value_of(*run, metric, rule);
    if (!found) continue;
    if (!std::isfinite(found->value)) {
      ++result.failed;
      continue;
    }
    result.entries.push_back({run, *found});
    values.push_back(found->value);
  }
  const MeanAndDeviation summary = mean_and_deviation(values);
  result.mean = summary.mean;
  result.deviation = summary.deviation;
  return result;
}

}  // namespace rwkvlab
