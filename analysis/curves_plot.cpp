#include "analysis/curves_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "analysis/loss_plot.h"
#include "analysis/sweep_panels.h"
#include "base/error.h"

namespace rwkvlab {
namespace {

constexpr double band_opacity = 0.18;

// Tokens seen at each step, straight between the records.
std::vector<double> tokens_at(const ComparedRun& run, const std::vector<std::int64_t>& steps) {
  if (run.metrics.count("train/tokens_seen") == 0) {
    throw DataError(
        fmt::format("{}: without metrics/train/tokens_seen a curve over tokens cannot be drawn; use --x step.",
                    run.run_file.string()));
  }
  const ScalarSeries seen = RunFileReader(run.run_file).scalars("metrics/train/tokens_seen");
  std::vector<double> tokens;
  for (const std::int64_t step : steps) {
    const auto above = std::lower_bound(seen.steps.begin(), seen.steps.end(), step) - seen.steps.begin();
    const auto after = std::min(static_cast<std::size_t>(above), seen.steps.size() - 1);
    const double step_before = after == 0 ? 0 : static_cast<double>(seen.steps[after - 1]);
    const double tokens_before = after == 0 ? 0 : seen.values[after - 1];
    const double width = static_cast<double>(seen.steps[after]) - step_before;
    const double slope = width > 0 ? (seen.values[after] - tokens_before) / width : 0;
    tokens.push_back(tokens_before + slope * (static_cast<double>(step) - step_before));
  }
  return tokens;
}

// The values of every seed at the steps that all of them have. A seed that has reached its goal early keeps its last
// value, since it would not have trained on.
struct Samples {
  std::vector<std::int64_t> steps;
  std::vector<std::vector<double>> values;  // [step][seed]
  const ComparedRun* longest = nullptr;
  bool has_carried = false;
};

// Only a goal ends a run before its time and leaves it done.
bool ended_at_goal(const ComparedRun& run) {
  const Node* const steps = run.config.find_path("train.steps");
  return run.is_done() && steps != nullptr && run.steps < steps->integer();
}

Samples read_samples(const RunGroup& group, const std::string& metric, double smoothing) {
  Samples samples;
  std::map<std::int64_t, std::vector<double>> by_step;
  struct End {
    std::int64_t step;
    double value;
  };
  std::vector<End> early;
  std::size_t seeds = 0;
  std::int64_t last = -1;
  for (const ComparedRun* const run : group.runs) {
    if (run->state == ResultState::failed || run->metrics.count(metric) == 0) continue;
    const ScalarSeries series = RunFileReader(run->file_of(metric)).scalars("metrics/" + metric);
    const std::vector<double> values = smooth(series.steps, series.values, smoothing);
    for (std::size_t i = 0; i < values.size(); ++i) by_step[series.steps[i]].push_back(values[i]);
    ++seeds;
    if (series.steps.back() > last) {
      last = series.steps.back();
      samples.longest = run;
    }
    if (ended_at_goal(*run)) early.push_back({series.steps.back(), values.back()});
  }
  for (auto& [step, values] : by_step) {
    const std::size_t recorded = values.size();
    for (const End& end : early) {
      if (step > end.step) values.push_back(end.value);
    }
    if (values.size() != seeds) continue;
    samples.has_carried = samples.has_carried || recorded < seeds;
    samples.steps.push_back(step);
    samples.values.push_back(std::move(values));
  }
  return samples;
}

void add_curves(Panel& panel, const Samples& samples, const std::string& label, int color,
                const CurvesPlotOptions& options) {
  if (samples.longest == nullptr) return;
  const std::vector<double> x = options.x == "tokens" ? tokens_at(*samples.longest, samples.steps)
                                                      : std::vector<double>(samples.steps.begin(), samples.steps.end());
  Curve line, band;
  line.color = band.color = color;
  line.label = label;
  band.opacity = band_opacity;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (options.logarithmic_x && x[i] <= 0) continue;
    const MeanAndDeviation summary = mean_and_deviation(samples.values[i]);
    line.x.push_back(x[i]);
    line.y.push_back(summary.mean);
    if (!summary.deviation) continue;
    band.x.push_back(x[i]);
    band.y.push_back(summary.mean - *summary.deviation);
    band.top.push_back(summary.mean + *summary.deviation);
  }
  line.has_points = line.x.size() == 1;
  // Bands lie below every line.
  const auto first_line =
      std::find_if(panel.curves.begin(), panel.curves.end(), [](const Curve& c) { return c.top.empty(); });
  if (!band.x.empty()) panel.curves.insert(first_line, std::move(band));
  panel.curves.push_back(std::move(line));
}

void check_options(const CurvesPlotOptions& options) {
  if (options.x != "step" && options.x != "tokens") {
    throw ConfigError(fmt::format("--x {}: expected step or tokens", options.x));
  }
  if (!(options.smoothing >= 0) || !std::isfinite(options.smoothing)) {
    throw ConfigError(
        fmt::format("The curves cannot be smoothed over {} steps; expected 0 or more.", options.smoothing));
  }
}

}  // namespace

Figure curves_figure(const CurvesPlotOptions& options) {
  check_options(options);
  std::vector<std::string> asked = options.group;
  if (!options.panels.empty()) asked.push_back(options.panels);
  const SweepResults results = read_results(options.sources, asked);
  const std::vector<std::string> metrics =
      require_metrics(results, options.metrics.empty() ? results.table.metrics : options.metrics);
  const SweepPanels panels(results, options.panels, options.group, "", results.table.value);
  Figure figure;
  bool has_bands = false, has_carried = false;
  for (const std::string& metric : metrics) {
    bool has_curves = false;
    for (std::size_t p = 0; p < panels.panels().size(); ++p) {
      Panel& panel = figure.panels.emplace_back();
      panel.title = panels.panel_title(p);
      panel.x = {options.x == "tokens" ? "training tokens" : "training step", options.logarithmic_x, std::nullopt};
      panel.y = {metric_title(results, metric), false, std::nullopt};
      for (std::size_t line = 0; line < panels.lines().size(); ++line) {
        const RunGroup* const group = panels.group(p, line);
        if (group == nullptr) continue;
        const Samples samples = read_samples(*group, metric, options.smoothing);
        has_carried = has_carried || samples.has_carried;
        add_curves(panel, samples, panels.lines()[line], static_cast<int>(line), options);
      }
      has_curves = has_curves || !panel.curves.empty();
      has_bands = has_bands || (!panel.curves.empty() && !panel.curves.front().top.empty());
      if (panel.curves.empty()) panel.curves.emplace_back();
    }
    if (!has_curves) throw DataError(fmt::format("No run of '{}' has recorded {} yet.", results.name, metric));
  }
  lay_out_panels(figure, panels, metrics.size());
  const bool rises = direction_of(metrics.front()) == Direction::higher;
  figure.legend_corner = rises ? "bottom right" : "top right";
  figure.title = options.title;
  if (has_bands) figure.caption = "Lines: mean over the seeds; bands: one standard deviation.";
  if (has_carried) figure.caption += " Runs that ended at their goal keep their last value.";
  if (options.smoothing > 0) {
    figure.caption +=
        fmt::format(" Every run smoothed: exponential moving average over {:g} steps.", options.smoothing);
  }
  for (const std::string& text : {panels.reduction(), unfinished_text(results)}) figure.caption += " " + text;
  return figure;
}

FigureFiles plot_curves(const CurvesPlotOptions& options) {
  return draw_figure(curves_figure(options), options.output);
}

}  // namespace rwkvlab
