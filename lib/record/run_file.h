// The vocabulary of the run file `run.h5` that its writer and its reader share. docs/run_file.md describes the layout.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace rwkvlab {

/// Version of the layout, stored as the root attribute `rwkvlab_run_file`.
inline constexpr std::int64_t kRunFileVersion = 1;

/// What describes the machine and the build: one attribute of `/environment` each, an integer or a text.
using Environment = std::map<std::string, std::variant<std::int64_t, std::string>>;

/// State of a run, stored as the root attribute `status`.
enum class RunStatus { running, done, interrupted, diverged };

/// "running", "done", "interrupted" or "diverged".
std::string_view to_string(RunStatus status);

/// What one record of a series is.
enum class SeriesKind {
  scalar,     ///< one float64 number: `value[record]`
  tensor,     ///< one float32 tensor: `value[record, ...shape]`
  histogram,  ///< `edges[record, bins + 1]` (float64) and `counts[record, bins]` (int64)
};

/// One series of records; every record belongs to a training step, and steps only rise.
struct SeriesInfo {
  std::string path;  ///< Where it is, without a leading slash, for example "metrics/train/loss".
  SeriesKind kind = SeriesKind::scalar;
  std::string unit;                     ///< "nats per token", "1"; never empty.
  std::string description;              ///< One sentence.
  std::vector<std::int64_t> shape;      ///< Of one record: tensor [..], histogram [bins], scalar [].
  std::vector<std::string> dimensions;  ///< A name for each entry of `shape`, for example {"batch", "time", "channel"}.
  std::int64_t records = 0;             ///< How many records there are.
};

/// A table of /profile: a name and a number in every column for each row.
struct ProfileTable {
  struct Column {
    std::string name, unit;
    std::vector<double> values;  ///< [row]
  };
  std::vector<std::string> names;  ///< [row]
  std::vector<Column> columns;
};

/// /profile: where the time of some steps went. Times differ between equal runs, and so do the files that hold one.
struct ProfileRecord {
  std::int64_t first_step = 0;
  std::int64_t steps = 0;
  std::map<std::string, ProfileTable> tables;  ///< by name: "operations", "modules", "outside"
};

}  // namespace rwkvlab
