// Tables over runs: one cell for each variant and metric, the mean over its seeds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "analysis/sweep_groups.h"

namespace rwkvlab {

/// What to tabulate. What is absent is taken from the `table` section of the sweep.
struct TableOptions {
  std::vector<std::filesystem::path> sources;  ///< One sweep folder, or runs (read_results).
  std::optional<std::vector<std::string>> rows, columns, metrics, show;
  std::optional<std::string> value, title;
  std::optional<int> digits;
  std::string best = "auto";  ///< auto (known from the metric), min, max or none.
};

/// Size and cost of one model.
struct ModelSize {
  std::int64_t parameters = 0;
  double flops_per_token = 0;  ///< Of forward, as `rwkvlab describe` counts.
  std::int64_t state = 0;      ///< Numbers per sequence.
  bool operator==(const ModelSize&) const = default;
};

/// One metric of one variant.
struct TableCell {
  std::vector<std::string> row, column;  ///< Labels on the axes of rows and columns.
  std::string metric;
  GroupStatistics statistics;
  std::vector<const ComparedRun*> runs;  ///< One per seed, finished or not.
  std::string chosen;                    ///< What the best-of rule chose.
  std::optional<ModelSize> size;         ///< When shown.
  std::string steps;                     ///< Training steps that the finished runs did, "2000" or "1500 ± 300".
  std::optional<double> seconds;         ///< Mean training time, from the speed of each run; when known and shown.
  bool is_best = false;                  ///< Of its column: as good as the best one in the decimals shown.
  bool exists = false;                   ///< false: the sweep has no such variant.
};

/// A table, not yet laid out. Cells are ordered by row, then column, then metric.
struct Table {
  SweepResults results;  ///< What the cells point into.
  std::string title;
  std::vector<std::string> row_axes, column_axes, metrics;
  std::vector<std::vector<std::string>> rows, columns;  ///< Labels; one empty entry where there are no axes.
  std::vector<std::string> show;                        ///< parameters, flops, state, steps, runs, seconds, best_of.
  std::vector<int> digits;                              ///< Decimals of each metric.
  std::string value = "last";
  std::vector<TableCell> cells;
  std::vector<std::string> notes;  ///< Sentences below the table: what the numbers are, what is missing.

  Table() = default;
  Table(const Table&) = delete;  // Cells point into `results`.
  Table& operator=(const Table&) = delete;
  Table(Table&&) = default;
  Table& operator=(Table&&) = default;

  const TableCell& cell(std::size_t row, std::size_t column, std::size_t metric) const {
    return cells[(row * columns.size() + column) * metrics.size() + metric];
  }
};

/// Reads the runs and fills the table. Every number comes from a run file. Throws DataError and ConfigError as
/// read_results, choose_axes, group_runs and require_metrics do, and ConfigError for options that do not fit.
Table make_table(const TableOptions& options);

/// "0.93 ± 0.02", "0.93 ± 0.02 (2/3)" when seeds are missing, "— (0/3)" when all are, "" for no variant; "1e-05" for a
/// value that the decimals of its metric would show as zero.
std::string cell_text(const Table& table, const TableCell& cell, std::size_t metric);

}  // namespace rwkvlab
