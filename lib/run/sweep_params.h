// The sections `sweep` and `table` of an experiment file.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/fields.h"
#include "config/node.h"

namespace rwkvlab {

/// One path of a random search: how its values are drawn. Exactly one of the members is given.
struct RandomRange {
  std::optional<std::vector<double>> uniform;        ///< [low, high)
  std::optional<std::vector<double>> log_uniform;    ///< [low, high), the logarithm is uniform
  std::optional<std::vector<std::int64_t>> integer;  ///< low to high, both included
  Node choice;                                       ///< a list; null when not given
};

struct RandomParams {
  int count = 0;
  std::uint64_t seed = 1;
  std::map<std::string, RandomRange> over;  ///< by path; the resolved tree has them in the order of the file
};

struct BestOfParams {
  std::vector<std::string> over;
  std::string metric;
  std::optional<std::string> mode;
  bool per_seed = false;
};

/// One entry of `sweep.list`.
struct VariantParams {
  Node label;
  Node set;
};

struct SweepParams {
  Node grid;
  Node zip;
  std::vector<VariantParams> list;
  std::optional<RandomParams> random;
  Node seeds;
  std::string label;
  std::optional<BestOfParams> best_of;
  std::int64_t limit = 1000;
};

/// Best-of rule of a sweep: of the runs that differ only in `over`, tables show the one with the best `metric`.
struct BestOf {
  std::vector<std::string> over;  ///< axes, for example train.learning_rate
  std::string metric;             ///< series below /metrics of the run file, for example eval/accuracy
  bool maximize = true;
  /// false: the value of `over` with the best mean over seeds wins; true: every seed chooses its own best.
  bool per_seed = false;
};

/// What the `table:` section of an experiment file sets; `rwkvlab table` options override it.
struct TableParams {
  std::vector<std::string> rows;     ///< axes that make the rows; empty: all that are neither columns nor reduced
  std::vector<std::string> columns;  ///< axes whose values make the columns; empty: one column per metric
  std::vector<std::string> metrics;  ///< series below /metrics; empty: eval/accuracy if recorded, else eval/loss
  /// extra columns: parameters, flops (per token, forward), state (numbers), steps, runs (seeds, failures)
  std::vector<std::string> show;
  std::string value = "last";  ///< last, best or first record of the series
  int digits = 0;              ///< decimals; 0: chosen from the standard deviation
  std::string title;
};

void describe(Fields<SweepParams>& f);
void describe(Fields<BestOfParams>& f);
void describe(Fields<TableParams>& f);

/// The rule as tables use it; without a mode, accuracies are maximised and everything else minimised.
BestOf best_of(const BestOfParams& params);

}  // namespace rwkvlab
