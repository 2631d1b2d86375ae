// The profile of some steps of a run: `log.profile` and `rwkvlab run --profile`.
#pragma once

#include <cstdint>
#include <optional>

#include "autograd/profiler.h"
#include "record/run_file.h"
#include "run/log_params.h"

namespace rwkvlab {

/// Profiles the steps from `params.from` on, `params.steps` of them, and what is between them.
class StepProfile {
 public:
  explicit StepProfile(const ProfileParams& params) : params_(params) {}

  /// After so many steps; the next one may be the first that is profiled.
  void finished(std::int64_t step);
  /// No further steps will come.
  void stop();
  /// All steps that were asked for are done, or stop() was called, and at least one was profiled. True once.
  bool take();
  /// The steps that were profiled; 0 when none was.
  std::int64_t steps() const;

  const Profiler& profiler() const { return *profiler_; }
  /// As the run file holds it.
  ProfileRecord record() const;

 private:
  ProfileParams params_;
  std::optional<Profiler> profiler_;
  std::int64_t first_ = 0, last_ = 0;
  bool is_taken_ = false;
};

}  // namespace rwkvlab
