// The spans of some training steps, added up per operation and per module.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autograd/profiler.h"

namespace rwkvlab {

/// Sums over some steps of what one operation, or one module, took by itself, without what is inside of it.
struct ProfileRow {
  std::string name;
  bool is_part = false;    ///< of the step, such as "batch" or "adamw"; else an operation or a module
  std::int64_t calls = 0;  ///< forward passes of an operation; operations of a module, both ways; of others, spans
  double forward = 0;      ///< seconds
  double backward = 0;
  double recompute = 0;
  double other = 0;           ///< seconds in neither of these
  double flops = 0;           ///< of matrix products and recurrences
  double bfloat16_flops = 0;  ///< of them, with operands in bfloat16
  double bytes = 0;           ///< of the tensors that operations read and write, each once

  double seconds() const { return forward + backward + recompute + other; }
  void add(const ProfileRow& other_row);
};

/// Rows are sorted by time, the longest first.
struct ProfileSummary {
  std::int64_t steps = 0;
  double step_seconds = 0;  ///< of all steps
  /// Differentiable operations, the parts of a step, and what lies between them (between_operations). Their seconds add
  /// up to step_seconds.
  std::vector<ProfileRow> operations;
  /// The same time per module, by its path; "" is the root, and parts are what belongs to no module.
  std::vector<ProfileRow> modules;
  /// Parts between steps: evaluations, records, checkpoints.
  std::vector<ProfileRow> outside;
};

/// The row of `operations` for a step's time outside of every operation and part.
inline constexpr const char* between_operations = "between operations";

/// Of the finished steps that the profiler saw. Spans that have not ended count for nothing.
ProfileSummary summarise(const Profiler& profiler);

/// "blocks.3.att.key" -> "blocks.*.att.key".
std::string without_layer(const std::string& module);

/// Rows of modules with all that is inside of them added (a module's row is then that of its path and of all paths
/// below it), in the order of the paths. With `per_layer` false, layers are added up: "blocks.*.att". Parts stay as
/// they are, behind the modules.
std::vector<ProfileRow> module_tree(const std::vector<ProfileRow>& modules, bool per_layer);

/// The spans in the Trace Event Format that Perfetto and chrome://tracing open, as JSON: complete events ("ph": "X") in
/// microseconds, with the phase as category, and module, FLOPs and bytes as arguments.
std::string chrome_trace(const Profiler& profiler);

}  // namespace rwkvlab
