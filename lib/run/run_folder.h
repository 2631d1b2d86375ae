// The folder of one run: runs/<name>/
//
//   resolved.yaml   the experiment with every default
//   data.json       size and fingerprint of the files that it trains on (run/data_files.h)
//   run.h5          the records (docs/run_file.md)
//   checkpoints/    step-…/ (train/checkpoint.h)
//   log.txt         what the program printed, with clock times
//   status.json     how far the run is, on which host and since when
//   figures/        made from run.h5
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/node.h"

namespace rwkvlab {

/// What status.json says.
struct RunStatusReport {
  std::string status;  ///< running, done, interrupted, diverged or failed
  std::int64_t step = 0;
  std::int64_t steps = 0;
  std::string message;           ///< why the run ended, if it failed
  double tokens_per_second = 0;  ///< of the process that last trained; 0: not known
};

/// What the status.json of a run folder says; nothing when there is none or it cannot be read.
std::optional<RunStatusReport> read_run_status(const std::filesystem::path& folder) noexcept;
/// Replaces status.json. Throws FileError.
void write_run_status(const std::filesystem::path& folder, const RunStatusReport& report, const std::string& started);
/// Whether `folder` holds a run, finished or not.
bool is_run_folder(const std::filesystem::path& folder);
/// Whether a process is training in `folder` at this moment.
bool is_run_in_use(const std::filesystem::path& folder) noexcept;

/// A run folder that this process has locked: no second process trains in it. The lock ends with the process.
class RunFolder {
 public:
  /// Makes the folder and writes resolved.yaml. A log or status that an attempt left there before it could start does
  /// not matter. Throws ConfigError when a run is there already (the message says how to
  /// continue it) or the folder holds other files, FileError when it cannot be written.
  static RunFolder create(const std::filesystem::path& path, const std::string& resolved);
  /// Opens the folder of an earlier run. Throws ConfigError when there is none, another process is at work in it, or
  /// its configuration differs from `tree` in more than may change; otherwise resolved.yaml is brought up to date.
  static RunFolder resume(const std::filesystem::path& path, const Node& tree);

  RunFolder(RunFolder&& other) noexcept;
  RunFolder& operator=(RunFolder&&) = delete;
  ~RunFolder();

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path run_file() const { return path_ / "run.h5"; }
  static std::filesystem::path data_record(const std::filesystem::path& folder) { return folder / "data.json"; }
  std::filesystem::path trace_file() const { return path_ / "trace.json"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path figures() const { return path_ / "figures"; }

  /// The speed that status.json holds; 0 when it holds none or cannot be read.
  double recorded_speed() const noexcept;
  /// Replaces status.json. Throws FileError.
  void write_status(const RunStatusReport& report) const;
  /// Appends a line to log.txt, with the clock time. A failure is ignored: the log is a convenience.
  void log(std::string_view line) const;

 private:
  RunFolder(std::filesystem::path path, int lock);
  std::filesystem::path path_;
  int lock_ = -1;
  std::string started_;
};

/// An experiment as this version of the program resolves it: keys that are newer than its file have their defaults. A
/// tree that is no experiment stays as it is.
Node with_defaults(const Node& tree);

/// Keys whose values differ, with defaults for those that only one of the two has, as "train.batch: 8 -> 16". What a
/// resumed run may change is left out: `name`, everything under `log`, how often checkpoints are written and kept, and
/// `train.steps` when it grows.
std::vector<std::string> blocking_differences(const Node& before, const Node& now);

}  // namespace rwkvlab
