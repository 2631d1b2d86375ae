// The folder of a sweep (its layout is in sweep/sweep_record.h): making it, continuing it, and how far its runs are.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sweep/plan.h"

namespace rwkvlab {

/// How far a run is.
enum class RunState { missing, interrupted, failed, diverged, in_use, done };
std::string_view to_string(RunState state);

/// State of one run. What its status.json calls done is done, also when eval.stop_accuracy ended it early.
RunState run_state(const std::filesystem::path& sweep, const SweepRun& run);

/// The words after the program's name that start or continue a run in a process of its own.
std::vector<std::string> run_arguments(const std::filesystem::path& sweep, const SweepPlan& plan, const SweepRun& run);

/// The experiment file of a variant, SWEEP/experiments/<variant>.yaml.
std::filesystem::path variant_file(const std::filesystem::path& sweep, const PlannedVariant& variant);

/// Writes into a run's status that it failed and why, unless the run has said so itself: one that ends before it has
/// begun does not.
void note_failure(const std::filesystem::path& run_folder, bool has_diverged, const std::string& reason);

/// A sweep folder that this process has locked: no second process runs the sweep. Processes that it starts share the
/// lock, so that it outlives this process until they have ended too.
class SweepFolder {
 public:
  /// Writes the record and the experiment files into a new or empty folder. Throws ConfigError when there is something
  /// already, with what to do.
  static SweepFolder create(const std::filesystem::path& path, const SweepPlan& plan);
  /// Opens an existing one, and brings the files up to date with `plan`. Throws ConfigError when there is no sweep,
  /// when it differs (continue_sweep), and when another process runs it. Waits for runs that another process left
  /// behind.
  static SweepFolder resume(const std::filesystem::path& path, SweepPlan& plan);

  SweepFolder(SweepFolder&& other) noexcept;
  SweepFolder& operator=(SweepFolder&&) = delete;
  ~SweepFolder();

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit SweepFolder(std::filesystem::path path);
  void lock();
  void write(const SweepPlan& plan) const;

  std::filesystem::path path_;
  int own_lock_ = -1;     // ends with this process
  int shared_lock_ = -1;  // ends with the last of its children
};

}  // namespace rwkvlab
