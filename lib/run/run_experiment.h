// From an experiment file to a finished run folder.
#pragma once

#include <atomic>
#include <filesystem>
#include <optional>
#include <string>

#include "run/experiment.h"
#include "run/progress.h"
#include "train/trainer.h"

namespace rwkvlab {

struct RunOptions {
  std::filesystem::path folder;  ///< empty: runs/<name> below the current folder
  bool resume = false;
  const std::atomic<bool>* stop = nullptr;  ///< set: end after the current step, with a checkpoint; null: never
  /// Profile the steps that `log.profile` names, or 3 to 12 where it is left out.
  bool profile = false;
  int output = 1;  ///< file descriptor for progress lines; -1: none
};

struct RunResult {
  TrainingOutcome outcome = TrainingOutcome::finished;
  std::filesystem::path folder;
  std::filesystem::path run_file;
  std::filesystem::path checkpoint;  ///< the newest
  std::int64_t step = 0;
  bool was_finished = false;                   ///< a resumed run that had nothing left to do
  std::optional<Evaluation> evaluation;        ///< the last one; when this process made none, the recorded one
  std::optional<std::int64_t> profiled_steps;  ///< of this process; nothing when no profile was asked for
  std::filesystem::path trace;                 ///< empty when no step was profiled
  double tokens_per_second = 0;                ///< of this process; when it trained no step, the recorded speed
};

/// Runs an experiment. Everything is checked before the folder is touched; then the records, checkpoints, log and
/// status grow in it. Throws ConfigError, DataError, FileError and NonFiniteError; the folder then says what happened
/// and holds everything up to that point. HDF5 and tensors belong to the calling thread.
RunResult run_experiment(const LoadedExperiment& loaded, const RunOptions& options);

/// Where a run goes: `folder`, or runs/<name>.
std::filesystem::path run_folder_of(const LoadedExperiment& loaded, const std::filesystem::path& folder);

}  // namespace rwkvlab
