// Whether what lies in a run folder of a sweep is the run that the sweep asked for.
#pragma once

#include <filesystem>
#include <string>

#include "analysis/sweep_results.h"

namespace rwkvlab {

/// Compares runs with the experiment files of a sweep, SWEEP/experiments/<variant>.yaml, and with what sweep.yaml says
/// that a variant sets. Without a readable experiment file the latter alone is compared.
class MembershipCheck {
 public:
  explicit MembershipCheck(std::filesystem::path sweep) : sweep_(std::move(sweep)) {}

  /// Throws DataError, naming the first keys that differ with both values, unless `run` is what `planned` asks for.
  /// `name`, `log`, how often checkpoints are written and `train.steps` (unless the variant sets it) may differ. A run
  /// without a configuration has nothing to compare. Quickest with the runs of one variant after each other.
  void require(const ComparedRun& run, const SweepRun& planned);

 private:
  std::filesystem::path sweep_;
  std::string variant_;
  bool is_loaded_ = false;
  Node experiment_;  // Of `variant_`; null: none.
};

}  // namespace rwkvlab
