// What a sweep folder says about itself: sweep.yaml, from which alone the sweep can be repeated and tabulated.
//
//   SWEEP/sweep.yaml                     this record
//   SWEEP/experiments/<variant>.yaml     the experiment file of one variant, without the seed
//   SWEEP/runs/<variant>/seed-<n>/       an ordinary run folder (run/run_folder.h)
//   SWEEP/table.txt, .md, .csv, .json    written when the sweep ends, as `rwkvlab table SWEEP` prints it
//   SWEEP/figures/
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/node.h"

namespace rwkvlab {

/// Version of sweep.yaml that this program writes and reads.
inline constexpr int sweep_record_version = 1;

/// The value that a variant has on one axis: `axis` is the name from the sweep section (a path such as "model.width"
/// or a name such as "mixer"), `value` a number, boolean or string, and `label` what tables and legends show.
struct AxisValue {
  std::string axis;
  Node value;
  std::string label;
};

/// One run of a sweep.
struct SweepRun {
  std::string variant;          ///< the variant's label; runs that differ in their seed alone share it
  std::vector<AxisValue> axes;  ///< in the order of the sweep's axes
  std::uint64_t seed = 1;
  std::filesystem::path folder;  ///< relative to the sweep folder
  Node settings;                 ///< map of path -> value: what the variant sets in the base experiment
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

struct SweepRecord {
  std::string name;
  Node experiment;                ///< the base experiment: composed, without sweep and table, paths absolute
  Node sweep;                     ///< the sweep section as it was given
  std::vector<std::string> axes;  ///< every axis, in order
  std::optional<BestOf> best_of;
  TableParams table;
  std::vector<SweepRun> runs;  ///< in the order of the sweep: variants, seeds within a variant

  std::string text() const;  ///< as YAML
};

/// Whether `folder` holds a sweep.yaml.
bool is_sweep_folder(const std::filesystem::path& folder);

/// Reads SWEEP/sweep.yaml. Throws DataError for a missing or damaged file, and ConfigError for another version (the
/// message names both).
SweepRecord read_sweep_record(const std::filesystem::path& folder);

/// Writes SWEEP/sweep.yaml, replacing it.
void write_sweep_record(const std::filesystem::path& folder, const SweepRecord& record);

}  // namespace rwkvlab
