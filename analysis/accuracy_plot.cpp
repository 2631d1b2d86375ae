#include "analysis/accuracy_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "analysis/sweep_panels.h"
#include "base/error.h"

namespace rwkvlab {
namespace {

constexpr double band_opacity = 0.18;

// The values of the x axis as places on it, in rising order.
struct Places {
  std::vector<double> x;           // Of each point.
  std::vector<std::size_t> order;  // Points from left to right.
  bool is_numeric = true;
};

Places places_of(const std::vector<std::string>& labels, const AccuracyPlotOptions& options) {
  Places places;
  for (const std::string& label : labels) {
    double value = 0;
    const auto [end, error] = std::from_chars(label.data(), label.data() + label.size(), value);
    places.is_numeric = places.is_numeric && error == std::errc() && end == label.data() + label.size();
    places.x.push_back(value);
  }
  if (!places.is_numeric) std::iota(places.x.begin(), places.x.end(), 0.0);
  if (options.logarithmic_x && !places.is_numeric) {
    throw ConfigError(fmt::format("--log-x: the values of '{}' are no numbers: {}", options.x, list_text(labels)));
  }
  if (options.logarithmic_x && *std::min_element(places.x.begin(), places.x.end()) <= 0) {
    throw ConfigError(fmt::format("--log-x: '{}' has values that are not positive: {}", options.x, list_text(labels)));
  }
  places.order.resize(labels.size());
  std::iota(places.order.begin(), places.order.end(), std::size_t{0});
  std::sort(places.order.begin(), places.order.end(),
            [&](std::size_t a, std::size_t b) { return places.x[a] < places.x[b]; });
  return places;
}

Axis x_axis(const std::vector<std::string>& labels, const Places& places, const AccuracyPlotOptions& options) {
  Axis axis{options.x, options.logarithmic_x, std::nullopt};
  for (std::size_t i = 0; i < labels.size(); ++i) axis.tics.emplace_back(places.x[i], labels[i]);
  // Room beside the first and the last value.
  const double low = places.x[places.order.front()], high = places.x[places.order.back()];
  if (options.logarithmic_x) {
    const double factor = high > low ? std::pow(high / low, 0.06) : 2;
    axis.range = std::pair{low / factor, high * factor};
  } else {
    const double room = places.is_numeric ? std::max(0.06 * (high - low), high > low ? 0 : 0.5) : 0.4;
    axis.range = std::pair{low - room, high + room};
  }
  return axis;
}

void add_line(Panel& panel, const SweepPanels& panels, std::size_t at, std::size_t line, const Places& places,
              const std::string& metric, const ValueRule& rule) {
  Curve curve, band;
  curve.label = panels.lines()[line];
  curve.color = band.color = static_cast<int>(line);
  curve.has_points = true;
  band.opacity = band_opacity;
  bool has_values = false;
  for (const std::size_t point : places.order) {
    const RunGroup* const group = panels.group(at, line, point);
    if (group == nullptr) continue;
    const GroupStatistics s = statistics_of(*group, metric, rule);
    has_values = has_values || s.count() > 0;
    curve.x.push_back(places.x[point]);
    curve.y.push_back(s.mean);
    band.x.push_back(places.x[point]);
    band.y.push_back(s.mean - s.deviation.value_or(0));
    band.top.push_back(s.mean + s.deviation.value_or(0));
  }
  if (!has_values) return;
  const auto first_line =
      std::find_if(panel.curves.begin(), panel.curves.end(), [](const Curve& c) { return c.top.empty(); });
  panel.curves.insert(first_line, std::move(band));
  panel.curves.push_back(std::move(curve));
}

}  // namespace

Figure accuracy_figure(const AccuracyPlotOptions& options) {
  if (options.x.empty()) throw ConfigError("Name the axis to show along x: --x model.width");
  std::vector<std::string> asked = options.group;
  asked.push_back(options.x);
  if (!options.panels.empty()) asked.push_back(options.panels);
  const SweepResults results = read_results(options.sources, asked);
  const std::vector<std::string> metrics =
      require_metrics(results, options.metrics.empty() ? results.table.metrics : options.metrics);
  const SweepPanels panels(results, options.panels, options.group, options.x, options.value);
  const Places places = places_of(panels.points(), options);
  Figure figure;
  for (const std::string& metric : metrics) {
    bool has_curves = false;
    for (std::size_t p = 0; p < panels.panels().size(); ++p) {
      Panel& panel = figure.panels.emplace_back();
      panel.title = panels.panel_title(p);
      panel.x = x_axis(panels.points(), places, options);
      panel.y = {metric_title(results, metric), false, std::nullopt};
      // The whole range of an accuracy, so that figures compare; a little more shows the points at 1.
      if (metric.find("accuracy") != std::string::npos) panel.y.range = std::pair{0.0, 1.03};
      for (std::size_t line = 0; line < panels.lines().size(); ++line) {
        add_line(panel, panels, p, line, places, metric, {options.value, direction_of(metric)});
      }
      has_curves = has_curves || !panel.curves.empty();
      if (panel.curves.empty()) panel.curves.emplace_back();
    }
    if (!has_curves) throw DataError(fmt::format("No finished run of '{}' has recorded {}.", results.name, metric));
  }
  lay_out_panels(figure, panels, metrics.size());
  // Where the lines end is where they are told apart, so the legend stays beside them.
  if (figure.legend == Legend::inside) figure.legend = Legend::right;
  figure.title = options.title;
  figure.caption =
      fmt::format("Points: mean over the seeds ({} record of each run); bands: one standard deviation.", options.value);
  for (const std::string& text : {panels.reduction(), unfinished_text(results)}) figure.caption += " " + text;
  return figure;
}

FigureFiles plot_accuracy(const AccuracyPlotOptions& options) {
  return draw_figure(accuracy_figure(options), options.output);
}

}  // namespace rwkvlab
