// Where a training step goes: while a Profiler lives, operations, modules and parts of the step leave spans of time.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/matmul.h"

namespace rwkvlab {

/// What a span of time is spent on.
enum class Phase {
  step,        ///< a whole training step, and what is left of it beside the spans inside
  forward,     ///< forward pass
  backward,    ///< backward pass
  recompute,   ///< in the backward pass: values that were not kept
  data,        ///< making batches
  update,      ///< clipping and the optimiser
  evaluation,  ///< between steps: held-out data
  record,      ///< between steps: run file, checkpoints, progress
};

/// "step", "forward", ...
std::string_view to_string(Phase phase);

/// One span. Spans nest; times are nanoseconds since the profiler began.
struct ProfiledSpan {
  enum class Kind {
    part,       ///< of a step or of what is between steps, such as "batch"
    module,     ///< the forward pass of a module; its name is the module's path
    operation,  ///< a differentiable operation, by its Op::name()
  };
  Kind kind = Kind::part;
  Phase phase = Phase::step;
  int name = 0;     ///< in Profiler::texts()
  int module = 0;   ///< the path of the module that it works for, in texts(); of the root and of parts: ""
  int parent = -1;  ///< the span around it, which comes before it in the list; -1: none
  std::int64_t begin = 0, end = 0;
  std::int64_t nested = 0;    ///< in the spans directly inside
  double flops = 0;           ///< of matrix products and recurrences, without the spans inside
  double bfloat16_flops = 0;  ///< of them, products with operands in bfloat16
  double bytes = 0;           ///< of the tensors that an operation reads and writes, each once

  /// Without the spans inside. The own times of all spans inside a step add up to the step.
  std::int64_t own() const { return end - begin - nested; }
};

/// Collects the spans of this thread from its construction to stop(). Profilers may be nested; the newest sees all.
/// Nothing that is computed depends on whether one lives.
class Profiler {
 public:
  Profiler();
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;
  /// The newest of this thread that was not stopped; null: nobody profiles.
  static Profiler* current();

  /// No span begins from here on; those that are open may still end. Profilers stop in the reverse order of their
  /// beginning, as they do by themselves when they die.
  void stop();

  /// In the order in which they began.
  const std::vector<ProfiledSpan>& spans() const { return spans_; }
  const std::vector<std::string>& texts() const { return texts_; }

 private:
  friend class ProfileSpan;
  friend void note_flops(double flops);
  int open(ProfiledSpan::Kind kind, Phase phase, std::string_view name, std::optional<std::string_view> module);
  void close(int span);
  int text_index(std::string_view text);
  const ProfiledSpan* top() const { return open_.empty() ? nullptr : &spans_[static_cast<std::size_t>(open_.back())]; }
  void take_products();
  std::int64_t now() const;

  Profiler* previous_;
  bool is_stopped_ = false;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::optional<kernels::MatmulRecorder> products_;
  std::vector<ProfiledSpan> spans_;
  std::vector<int> open_;
  std::vector<std::string> texts_;
  std::map<std::string, int, std::less<>> text_indices_;
};

/// Marks a span from its construction, or from open_...(), to the end of its life. Costs a test of a thread-local
/// pointer when nobody profiles.
class ProfileSpan {
 public:
  ProfileSpan() = default;
  /// A part of a step, or of what is between steps.
  ProfileSpan(Phase phase, std::string_view name) {
    if (Profiler* const profiler = Profiler::current()) {
      open(*profiler, ProfiledSpan::Kind::part, phase, name, std::string_view());
    }
  }
  ~ProfileSpan() {
    if (profiler_ != nullptr) profiler_->close(span_);
  }
  ProfileSpan(const ProfileSpan&) = delete;
  ProfileSpan& operator=(const ProfileSpan&) = delete;

  /// An operation's forward pass, which is a recomputation while a backward pass is going on, for the module around it.
  void open_forward(Profiler& profiler, std::string_view operation);
  /// An operation's backward pass for the module that recorded it.
  void open_backward(Profiler& profiler, std::string_view operation, std::string_view module);
  /// Something that the operation around it does in this phase.
  void open_inside(Profiler& profiler, Phase phase, std::string_view operation = {});
  /// The forward pass of a module.
  void open_module(Profiler& profiler, std::string_view path);

  explicit operator bool() const { return profiler_ != nullptr; }
  /// Adds to what the span moved, if it is one.
  void add_bytes(double bytes) const {
    if (profiler_ != nullptr) profiler_->spans_[static_cast<std::size_t>(span_)].bytes += bytes;
  }
  /// The path of the module that this span works for.
  const std::string& module() const;

 private:
  void open(Profiler& profiler, ProfiledSpan::Kind kind, Phase phase, std::string_view name,
            std::optional<std::string_view> module);
  Profiler* profiler_ = nullptr;
  int span_ = -1;
};

/// Adds arithmetic that is no matrix product, such as a recurrence's, to the innermost span of this thread, if any.
void note_flops(double flops);

}  // namespace rwkvlab
