// Reads a run file, finished or still growing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "record/hdf5.h"
#include "record/run_file.h"

namespace rwkvlab {

/// A scalar series: steps[i] belongs to values[i].
struct ScalarSeries {
  SeriesInfo info;
  std::vector<std::int64_t> steps;
  std::vector<double> values;
};

/// One record of a histogram series; counts[i] values lie between edges[i] and edges[i + 1].
struct HistogramRecord {
  std::int64_t step = 0;
  std::vector<double> edges;
  std::vector<std::int64_t> counts;
};

/// One record of a tensor series, row-major in `info.shape`.
struct TensorRecord {
  std::int64_t step = 0;
  std::vector<float> values;
};

/// Reads a run file as it was when it was opened; a running writer replaces the file and does not disturb the reader.
/// Every function throws DataError for a file that is not HDF5, not a run file, of another version or damaged, and for
/// a series that is missing (the message names the nearest one); FileError when the file cannot be opened.
class RunFileReader {
 public:
  explicit RunFileReader(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  /// The resolved YAML text of the run.
  std::string config() const;
  Environment environment() const;
  RunStatus status() const;
  std::int64_t last_step() const;
  /// /profile; nothing when the run was not profiled.
  std::optional<ProfileRecord> profile() const;

  /// All series whose path starts with `prefix` ("metrics/", "decay/"), sorted by path.
  std::vector<SeriesInfo> list(std::string_view prefix = "") const;
  bool has(std::string_view path) const;
  SeriesInfo info(std::string_view path) const;

  /// Steps of any series.
  std::vector<std::int64_t> steps(std::string_view path) const;
  /// A whole scalar series, for example "metrics/train/loss" or "statistics/emb.weight/norm".
  ScalarSeries scalars(std::string_view path) const;
  /// Record number `record` (0 is the first, -1 the last) of a tensor series, for example
  /// "decay/blocks.0.att.time_decay".
  TensorRecord tensor(std::string_view path, std::int64_t record = -1) const;
  /// Record number `record` of a histogram series.
  HistogramRecord histogram(std::string_view path, std::int64_t record = -1) const;

 private:
  SeriesInfo info_of_kind(std::string_view path, SeriesKind kind) const;
  std::filesystem::path path_;
  hdf5::Handle file_;
  std::vector<SeriesInfo> series_;  // Sorted by path.
};

}  // namespace rwkvlab
