// Tells a person how a training goes.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "train/trainer.h"

namespace rwkvlab {

/// Where progress goes. `line` gets finished lines; `live` gets the current line again and again, to be overwritten,
/// and is empty when the output is no terminal.
struct ProgressOutput {
  std::function<void(const std::string&)> line;
  std::function<void(const std::string&)> live;
};

/// One line that keeps changing on a terminal; elsewhere lines now and then (every second at first, then rarer, at most
/// a minute apart). Evaluations and checkpoints are lines of their own.
class Progress final : public TrainingObserver {
 public:
  /// `read`: what speeds count, LossMeasure::read.
  explicit Progress(ProgressOutput output, std::string read = "tokens")
      : output_(std::move(output)), read_(std::move(read)) {}

  void started(std::int64_t step, std::int64_t steps) override;
  void step_finished(const StepReport& report, const Module& model) override;
  void evaluation_finished(std::int64_t step, const Evaluation& evaluation, double seconds) override;
  void checkpoint_written(std::int64_t step, const std::filesystem::path& checkpoint) override;

  /// Mean over the steps of this process, evaluations and checkpoints not counted; 0 before the first step.
  double tokens_per_second() const { return step_seconds_ > 0 ? static_cast<double>(tokens_) / step_seconds_ : 0; }

 private:
  using Clock = std::chrono::steady_clock;
  std::string text(const StepReport& report) const;
  void line(const std::string& text);

  ProgressOutput output_;
  std::string read_;
  std::int64_t steps_ = 0;
  std::int64_t first_step_ = 0;
  std::int64_t tokens_ = 0;
  double step_seconds_ = 0;
  double recent_seconds_ = 0;  // of a step, smoothed
  Clock::time_point started_{};
  Clock::time_point shown_{};
};

/// "2:05" or "1:02:05".
std::string duration_text(double seconds);
/// "812", "12.3k", "1.20M".
std::string quantity_text(double value);

/// Writes to a descriptor, as far as that goes: whoever listens there may have gone away.
void write_to(int descriptor, const std::string& text);
/// Columns that a line may take on a terminal.
std::size_t terminal_width(int descriptor);

/// Output to the process's standard error or output: a live line when `descriptor` is a terminal. `also` gets every
/// finished line too.
ProgressOutput terminal_output(int descriptor, const std::function<void(const std::string&)>& also);

}  // namespace rwkvlab
