// Runs that are one cell of a table or one line of a figure: the seeds of one variant, after the sweep's best-of rule.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/sweep_results.h"

namespace rwkvlab {

/// Which way a metric is better.
enum class Direction { lower, higher, unknown };

/// Losses, perplexities, bits and errors are better when low, accuracies when high.
Direction direction_of(const std::string& metric);
/// The metric in words with its unit: "held-out loss (nats per token)".
std::string metric_title(const SweepResults& results, const std::string& metric);

/// "width 32" for the axis "model.width"; a named axis needs no name, its labels say it: "Finch".
std::string labelled(const std::string& axis, const std::string& label);

/// Which record of a series counts.
struct ValueRule {
  std::string record = "last";  ///< last, best or first.
  Direction direction = Direction::unknown;
};

/// One number of one run.
struct MetricValue {
  double value = 0;
  std::int64_t step = 0;
};

/// The value of a finished run, or nothing when the run is not done or has not recorded the metric. Throws ConfigError
/// for "best" of a metric whose direction is not known.
std::optional<MetricValue> value_of(const ComparedRun& run, const std::string& metric, const ValueRule& rule);

/// The metrics that were asked for (with or without "metrics/"), or the default: eval/accuracy if recorded, else
/// eval/loss, else train/loss. Throws ConfigError with the nearest name for one that no run recorded.
std::vector<std::string> require_metrics(const SweepResults& results, const std::vector<std::string>& wanted);

/// The runs that differ only in their seeds.
struct RunGroup {
  std::vector<std::string> labels;       ///< One for each axis that is shown.
  std::vector<std::size_t> order;        ///< When each of these labels came first on its axis.
  std::vector<const ComparedRun*> runs;  ///< One per seed: those that the best-of rule chose.
  std::string chosen;  ///< Labels on the axes of the best-of rule; "0.001, 0.003 (2)" when seeds chose.
};

/// Which axes a table or figure tells apart.
struct ShownAxes {
  std::vector<std::string> axes;     ///< Shown, in order.
  std::vector<std::string> reduced;  ///< Left to the best-of rule.
};

/// `first` and then every other axis that is neither reduced, nor the same for all runs, nor known from the axes
/// before it. Throws ConfigError for an unknown axis (with the nearest name) or one that is named twice.
ShownAxes choose_axes(const SweepResults& results, const std::vector<std::string>& first, bool adds_others = true);

/// Groups in the order of their labels' first appearance, axis by axis. Throws ConfigError when runs of one group
/// differ in an axis that is neither shown nor reduced: their mean would mean nothing.
std::vector<RunGroup> group_runs(const SweepResults& results, const ShownAxes& shown, const std::string& record);

/// What the best-of rule did, as a sentence; "" when it does not apply.
std::string reduction_text(const SweepResults& results, const ShownAxes& shown);

/// Values of one metric over the seeds of a group.
struct GroupStatistics {
  struct Entry {
    const ComparedRun* run = nullptr;
    MetricValue value;
  };
  std::vector<Entry> entries;       ///< Finished runs with a finite value.
  int expected = 0;                 ///< Seeds.
  int failed = 0;                   ///< Failed, diverged, or ended with a value that is not finite.
  double mean = 0;                  ///< Of the entries; NaN without any.
  std::optional<double> deviation;  ///< Of a sample (n - 1); from two entries on.

  int count() const { return static_cast<int>(entries.size()); }
};

GroupStatistics statistics_of(const RunGroup& group, const std::string& metric, const ValueRule& rule);

/// Mean and, from two values on, standard deviation of a sample (n - 1).
struct MeanAndDeviation {
  double mean = 0;
  std::optional<double> deviation;
};
MeanAndDeviation mean_and_deviation(const std::vector<double>& values);

}  // namespace rwkvlab
