// What the runs of a sweep, or single runs, recorded: the common ground of tables and figures that compare runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/node.h"
#include "record/run_file_reader.h"
#include "sweep/sweep_record.h"

namespace rwkvlab {

/// How far a run is. Only a run that is done has a result; diverged runs count as failed.
enum class ResultState { missing, running, interrupted, failed, done };

/// "not started", "running", "interrupted", "failed" or "done".
std::string_view to_string(ResultState state);

/// One run as tables and figures see it.
struct ComparedRun {
  std::filesystem::path folder;    ///< Where it is.
  std::filesystem::path run_file;  ///< Its run.h5, which may be missing.
  std::string name;                ///< How tables name it: its folder below the sweep's, or as it was given.
  std::string variant;             ///< Of a sweep; empty for a single run.
  std::vector<AxisValue> axes;     ///< Of a sweep as recorded; of single runs the keys in which they differ.
  std::uint64_t seed = 1;
  ResultState state = ResultState::missing;
  std::string message;                        ///< Why it failed.
  std::int64_t steps = 0;                     ///< Training steps done, which a goal can make fewer than train.steps.
  double tokens_per_second = 0;               ///< Of its last process; 0: not known.
  Node config;                                ///< The resolved experiment; null for a run that never started.
  std::map<std::string, SeriesInfo> metrics;  ///< By name, without "metrics/".
  /// Those of `metrics` that `rwkvlab eval` measured: they are in eval.h5 beside the run file.
  std::set<std::string> evaluated;

  /// What tables show for an axis, "—" when this run has no value on it.
  std::string label(const std::string& axis) const;
  bool is_done() const { return state == ResultState::done; }
  /// The file that holds a metric.
  std::filesystem::path file_of(const std::string& metric) const {
    return evaluated.count(metric) == 0 ? run_file : folder / "eval.h5";
  }
};

/// Runs that may stand in one table.
struct SweepResults {
  std::string name;                ///< Of the sweep, or of the first run.
  bool is_sweep = false;           ///< false: single runs.
  std::vector<std::string> axes;   ///< Of single runs: every key in which they differ.
  std::optional<BestOf> best_of;   ///< Of a sweep that declares it.
  TableParams table;               ///< Of a sweep; defaults for single runs.
  std::vector<ComparedRun> runs;   ///< In the order of the sweep, or as they were given.
  std::vector<std::string> notes;  ///< What a reader of any table of these runs should know.
};

/// Reads one sweep folder; or run folders, run files and several sweep folders, all of whose runs are then compared as
/// single runs: those that differ only in `seed`, `name`, `log` and when checkpoints are written are one experiment.
/// `shown` are the axes that somebody asked to see. Throws DataError for a path that is neither, a run file of another
/// version or a run folder that does not belong to its sweep; ConfigError when two runs are the same one, and when
/// single runs differ in `data` or `eval` and no axis in `shown` covers that: their numbers mean different things.
SweepResults read_results(const std::vector<std::filesystem::path>& sources, const std::vector<std::string>& shown);

/// Whether `axis` is `key` or a section above it: "model.time_mix" covers "model.time_mix.kind".
bool covers(const std::string& axis, const std::string& key);

/// "1, 2, 5 and 9".
std::string list_text(const std::vector<std::string>& names, std::size_t limit = 6);

}  // namespace rwkvlab
