#include "run/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace rwkvlab {
namespace {

double seconds_between(std::chrono::steady_clock::time_point a, std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

}  // namespace

void write_to(int descriptor, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(descriptor, text.data() + done, text.size() - done);
    // A broken pipe or a full disk behind standard output must not stop a training.
    if (count <= 0) return;
    done += static_cast<std::size_t>(count);
  }
}

std::size_t terminal_width(int descriptor) {
  winsize size{};
  return ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col - 1U : 79U;
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 3.2e9) return "?";
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  const std::int64_t hours = whole / 3600, minutes = whole / 60 % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60)
                   : fmt::format("{}:{:02}", minutes, whole % 60);
}

std::string quantity_text(double value) {
  if (value >= 1e6) return fmt::format("{:.3g}M", value / 1e6);
  if (value >= 1e3) return fmt::format("{:.3g}k", value / 1e3);
  return fmt::format("{:.0f}", value);
}

void Progress::started(std::int64_t step, std::int64_t steps) {
  steps_ = steps;
  first_step_ = step;
  started_ = shown_ = Clock::now();
  if (step > 0) line(fmt::format("resumed after step {} of {}", step, steps));
}

std::string Progress::text(const StepReport& report) const {
  const double left = recent_seconds_ * static_cast<double>(steps_ - report.step);
  return fmt::format("step {}/{}  loss {:.4f}  lr {:.3g}  {} {}/s  {} left", report.step, steps_, report.loss,
                     report.learning_rate, quantity_text(static_cast<double>(report.tokens) / recent_seconds_), read_,
                     duration_text(left));
}

void Progress::step_finished(const StepReport& report, const Module& /*model*/) {
  tokens_ += report.tokens;
  step_seconds_ += report.seconds;
  const double seconds = std::max(report.seconds, 1e-9);
  recent_seconds_ = recent_seconds_ > 0 ? 0.95 * recent_seconds_ + 0.05 * seconds : seconds;
  const Clock::time_point now = Clock::now();
  const double silent = seconds_between(shown_, now);
  const bool is_edge = report.step == first_step_ + 1 || report.step == steps_;
  if (output_.live) {
    if (silent < 0.1 && !is_edge) return;
    output_.live(text(report));
  } else {
    if (silent < std::clamp(seconds_between(started_, now) / 30, 1.0, 60.0) && !is_edge) return;
    line(text(report));
  }
  shown_ = now;
}

void Progress::evaluation_finished(std::int64_t step, const Evaluation& evaluation, double seconds) {
  const std::string bits =
      evaluation.bytes > 0 ? fmt::format(", {:.4f} bits per byte", evaluation.bits_per_byte) : std::string();
  const std::string accuracy =
      evaluation.accuracy ? fmt::format(", accuracy {:.4f}", *evaluation.accuracy) : std::string();
  std::string others;
  for (const HeldOutMetric& metric : evaluation.metrics)
    others += fmt::format(", {} {:.4f}", metric.name, metric.value);
  line(fmt::format("step {}/{}  held-out loss {:.4f} {}{}{}{} ({} {}{}, {:.1f} s)", step, steps_, evaluation.loss,
                   evaluation.unit.text(), bits, accuracy, others, evaluation.tokens, evaluation.unit.counted,
                   evaluation.unit.counted == "patch" ? "es" : "s", seconds));
}

void Progress::checkpoint_written(std::int64_t step, const std::filesystem::path& checkpoint) {
  line(fmt::format("step {}/{}  checkpoint {}", step, steps_, checkpoint.string()));
}

void Progress::line(const std::string& text) {
  if (output_.line) output_.line(text);
}

ProgressOutput terminal_output(int descriptor, const std::function<void(const std::string&)>& also) {
  const bool is_terminal = isatty(descriptor) == 1;
  ProgressOutput output;
  output.line = [descriptor, is_terminal, also](const std::string& text) {
    write_to(descriptor, (is_terminal ? "\r\033[K" : "") + text + "\n");
    if (also) also(text);
  };
  if (is_terminal) {
    output.live = [descriptor](const std::string& text) {
      write_to(descriptor, "\r\033[K" + text.substr(0, terminal_width(descriptor)));
    };
  }
  return output;
}

}  // namespace rwkvlab
