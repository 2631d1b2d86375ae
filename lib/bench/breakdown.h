// Where a training step goes, beside what the machine could do at best.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "bench/machine_limits.h"
#include "run/profile_summary.h"

namespace rwkvlab {

struct Breakdown {
  ProfileSummary summary;
  MachineLimits limits;  ///< measured in the same run
  std::string trace;     ///< chrome_trace() of the same steps

  /// Per step: the time of the matrix products and recurrences, of the memory traffic, and of the longer one of the two
  /// operation by operation, at the limits.
  double arithmetic_limit() const;
  double memory_limit() const;
  double limit() const;
  /// Bytes per step that operations read and write, each tensor once.
  double bytes() const;
};

/// Which tables are printed.
struct BreakdownView {
  std::string tables;      ///< "operations", "modules", "both" or "none"; empty: the operations that take most
  bool per_layer = false;  ///< modules of every layer separately, in place of "blocks.*.att"
};

/// Tables per step: calls, milliseconds forward, backward and in all, share of the step, GFLOP/s, GB/s, and the limit's
/// share of the time: 100 % is as fast as the machine can be.
std::string text(const Breakdown& breakdown, const BreakdownView& view);
/// Everything, whatever the view shows; modules per layer or not.
nlohmann::json json(const Breakdown& breakdown, const BreakdownView& view);

}  // namespace rwkvlab
