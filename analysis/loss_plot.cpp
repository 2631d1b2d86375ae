#include "analysis/loss_plot.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "record/run_file_reader.h"
#include "run/recorded_run.h"

namespace rwkvlab {

namespace fs = std::filesystem;

namespace {

constexpr const char* kTrainingLoss = "metrics/train/loss";
constexpr const char* kHeldOutLoss = "metrics/eval/loss";
constexpr const char* kHeldOutBits = "metrics/eval/bits_per_byte";

fs::path run_file_of(const fs::path& source) {
  std::error_code error;
  if (!fs::exists(source, error)) throw DataError(missing_file_text(source));
  const fs::path run = recorded_run(source);
  if (!fs::is_directory(run, error)) return run;
  if (fs::exists(run / "run.h5", error)) return run / "run.h5";
  throw DataError(fmt::format("'{}' is no run folder: there is no run.h5 in it.", run.string()));
}

// "runs/small/run.h5" and "runs/small/" are the run "small".
std::string name_of(const fs::path& run_file) {
  const fs::path absolute = fs::absolute(run_file).lexically_normal();
  if (absolute.filename() == "run.h5" && absolute.parent_path().has_filename()) {
    return absolute.parent_path().filename().string();
  }
  return absolute.stem().string();
}

struct RunLosses {
  std::optional<ScalarSeries> training;
  std::optional<ScalarSeries> held_out;
};

// As the run has recorded it: "nats per token", or what counts for models of images.
std::string loss_unit_of(const fs::path& path) {
  const RunFileReader reader(path);
  for (const char* const loss : {kTrainingLoss, kHeldOutLoss}) {
    const std::vector<SeriesInfo> series = reader.list(loss);
    if (!series.empty()) return series.front().unit;
  }
  return "nats per token";
}

RunLosses read_losses(const fs::path& path, LossUnit unit) {
  const RunFileReader reader(path);
  RunLosses losses;
  if (reader.has(kTrainingLoss)) losses.training = reader.scalars(kTrainingLoss);
  if (reader.has(kHeldOutLoss)) losses.held_out = reader.scalars(kHeldOutLoss);
  if (!losses.training && !losses.held_out) {
    throw DataError(fmt::format("{}: the run has recorded no loss yet (neither {} nor {}).", path.string(),
                                kTrainingLoss, kHeldOutLoss));
  }
  if (unit == LossUnit::nats_per_token) return losses;
  if (!reader.has(kHeldOutBits) || !losses.held_out) {
    throw DataError(fmt::format("{}: without {} the loss cannot be shown in bits per byte; show it in nats per token.",
                                path.string(), kHeldOutBits));
  }
  const ScalarSeries bits = reader.scalars(kHeldOutBits);
  // How many bytes a token stands for is a property of the held-out text: the last evaluation tells it.
  const double nats = losses.held_out->values.back();
  const double factor = nats > 0 ? bits.values.back() / nats : std::numbers::log2e;
  losses.held_out = bits;
  if (losses.training) {
    for (double& value : losses.training->values) value *= factor;
  }
  return losses;
}

std::vector<double> as_doubles(const std::vector<std::int64_t>& values) { return {values.begin(), values.end()}; }

void add_run(Panel& panel, const RunLosses& losses, const std::string& label, int run, bool is_only_run,
             const LossPlotOptions& options) {
  // A single run has two colours, several have one each and tell training and held-out loss apart by dashes.
  if (losses.training) {
    Curve curve;
    curve.color = run;
    curve.x = as_doubles(losses.training->steps);
    curve.y = losses.training->values;
    const std::string name = is_only_run ? "training" : label + ", training";
    if (options.smoothing > 0) {
      Curve smoothed = curve;
      smoothed.y = smooth(losses.training->steps, losses.training->values, options.smoothing);
      smoothed.label = name + " (smoothed)";
      curve.opacity = 0.3;
      curve.width = 0.8;
      panel.curves.push_back(std::move(curve));
      panel.curves.push_back(std::move(smoothed));
    } else {
      curve.label = name;
      curve.width = is_only_run ? 1.2 : 0.9;
      panel.curves.push_back(std::move(curve));
    }
  }
  if (losses.held_out) {
    Curve curve;
    curve.color = is_only_run ? run + 1 : run;
    curve.is_dashed = !is_only_run;
    curve.x = as_doubles(losses.held_out->steps);
    curve.y = losses.held_out->values;
    curve.label = is_only_run ? "held out" : label + ", held out";
    curve.has_points = is_only_run && curve.x.size() <= 60;
    panel.curves.push_back(std::move(curve));
  }
}

}  // namespace

std::vector<double> smooth(const std::vector<std::int64_t>& steps, const std::vector<double>& values, double scale) {
  check_invariant(steps.size() == values.size(), "steps and values to smooth differ in number");
  if (scale <= 0) return values;
  std::vector<double> result;
  result.reserve(values.size());
  double sum = 0, weight = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) {
      const double keep = std::exp(-static_cast<double>(steps[i] - steps[i - 1]) / scale);
      sum *= keep;
      weight *= keep;
    }
    if (std::isfinite(values[i])) {
      sum += values[i];
      weight += 1;
    }
    result.push_back(sum / weight);
  }
  return result;
}

Figure loss_figure(const LossPlotOptions& options) {
  if (options.runs.empty()) throw ConfigError("A figure of losses needs at least one run.");
  if (!options.labels.empty() && options.labels.size() != options.runs.size()) {
    throw ConfigError(fmt::format("There are {} labels for {} runs; give one label for each run, or none.",
                                  options.labels.size(), options.runs.size()));
  }
  if (!(options.smoothing >= 0) || !std::isfinite(options.smoothing)) {
    throw ConfigError(fmt::format("The loss cannot be smoothed over {} steps; expected 0 or more.", options.smoothing));
  }
  Figure figure;
  Panel panel;
  for (std::size_t i = 0; i < options.runs.size(); ++i) {
    const fs::path path = run_file_of(options.runs[i]);
    const std::string label = options.labels.empty() ? name_of(path) : options.labels[i];
    add_run(panel, read_losses(path, options.unit), label, static_cast<int>(i), options.runs.size() == 1, options);
  }
  panel.x = {"training step", options.logarithmic_steps, std::nullopt};
  const std::string unit = options.unit == LossUnit::bits_per_byte || options.runs.empty()
                               ? "bits per byte"
                               : loss_unit_of(run_file_of(options.runs.front()));
  panel.y = {fmt::format("loss ({})", unit), false, std::nullopt};
  // Losses fall, so the upper right corner is free; many entries would cover the curves all the same.
  figure.legend = options.runs.size() <= 3 ? Legend::inside : Legend::right;
  if (figure.legend == Legend::right) figure.width_cm = 18;
  if (options.smoothing > 0) {
    figure.caption =
        fmt::format("Training loss: exponential moving average over {:g} steps; pale: as recorded.", options.smoothing);
  }
  if (options.unit == LossUnit::bits_per_byte) {
    figure.caption +=
        std::string(figure.caption.empty() ? "" : " ") + "Bytes per token are those of the held-out text.";
  }
  figure.title = options.title;
  figure.panels.push_back(std::move(panel));
  return figure;
}

FigureFiles plot_loss(const LossPlotOptions& options) { return draw_figure(loss_figure(options), options.output); }

}  // namespace rwkvlab
