// Runs what is missing in a sweep folder, several processes at a time.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "sweep/sweep_folder.h"

namespace rwkvlab {

struct SweepOptions {
  std::string program;                      ///< rwkvlab itself
  int jobs = 1;                             ///< processes at a time
  int threads = 1;                          ///< of all of them together; each has its share, at least one
  std::string only;                         ///< pattern of labels; empty: all
  const std::atomic<bool>* stop = nullptr;  ///< set: interrupt the runs, wait for them and end; null: never
  int output = 1;                           ///< file descriptor for the overview
};

/// How a sweep ended, over the runs that were asked for.
struct SweepOutcome {
  int done = 0;
  int failed = 0;  ///< failed, diverged, or at work in another process
  int left = 0;    ///< not started or interrupted
  bool was_interrupted = false;
};

/// The runs whose label matches `only` ("": all), in the order of the record. Throws ConfigError when none does.
std::vector<const SweepRun*> chosen_runs(const SweepPlan& plan, const std::string& only);

/// Starts a process for every chosen run that is not done. One that fails is reported and does not stop the others.
/// Throws FileError when no process can be started.
SweepOutcome run_sweep(const SweepFolder& folder, const SweepPlan& plan, const SweepOptions& options);

}  // namespace rwkvlab
