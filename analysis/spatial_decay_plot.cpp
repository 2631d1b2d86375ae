#include "analysis/spatial_decay_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace rwkvlab {
namespace {

constexpr int profile_points = 61;
// Three panels of profiles are as many as a row holds.
constexpr int panel_columns = 3;
constexpr std::int64_t most_head_tics = 24;

std::vector<double> sorted(const std::vector<float>& decays) {
  std::vector<double> values(decays.begin(), decays.end());
  std::sort(values.begin(), values.end(), std::greater<>());
  return values;
}

std::string grow_text(const std::vector<float>& decays) {
  return fmt::format("{:.0f} % grow", 100 * growing_share(decays));
}

Figure ranked_figure(const std::vector<LayerDecay>& layers) {
  Figure figure;
  Panel panel;
  std::size_t channels = 2;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Curve curve;
    curve.label = fmt::format("{} ({})", layers[i].layer, grow_text(layers[i].time_decay));
    curve.color = static_cast<int>(i);
    curve.y = sorted(layers[i].time_decay);
    for (std::size_t rank = 1; rank <= curve.y.size(); ++rank) curve.x.push_back(static_cast<double>(rank));
    channels = std::max(channels, curve.y.size());
    panel.curves.push_back(std::move(curve));
  }
  panel.x = {"channel, sorted from near to far sight", false, std::pair{1.0, static_cast<double>(channels)}};
  panel.y = {"spatial decay w (w / T per token)", false, std::nullopt};
  figure.panels.push_back(std::move(panel));
  figure.coloring = Coloring::ordered;
  figure.colors = static_cast<int>(layers.size());
  figure.legend = Legend::right;
  figure.legend_title = "layer";
  return figure;
}

Panel profile_panel(const LayerDecay& layer, int color) {
  const std::vector<double> decays = sorted(layer.time_decay);
  Curve band, median;
  band.color = median.color = color;
  band.opacity = 0.3;
  band.label = "25 to 75 % of the channels";
  median.label = "median";
  for (int i = 0; i < profile_points; ++i) {
    const double x = static_cast<double>(i) / (profile_points - 1);
    for (Curve* const curve : {&band, &median}) curve->x.push_back(x);
    // Larger decays are smaller weights.
    std::vector<double> weights;
    for (const double w : decays) weights.push_back(std::exp(-w * x));
    band.y.push_back(quantile(weights, 0.25));
    band.top.push_back(quantile(weights, 0.75));
    median.y.push_back(quantile(weights, 0.5));
  }
  Panel panel;
  panel.title = fmt::format("layer {}, {}", layer.layer, grow_text(layer.time_decay));
  panel.curves = {std::move(band), std::move(median)};
  panel.x = {"distance x = d / T", false, std::pair{0.0, 1.0}};
  panel.y = {"weight e^{−w x}", true, std::nullopt};
  panel.y.has_markup = true;
  return panel;
}

Figure profile_figure(const std::vector<LayerDecay>& layers) {
  Figure figure;
  for (std::size_t i = 0; i < layers.size(); ++i)
    figure.panels.push_back(profile_panel(layers[i], static_cast<int>(i)));
  const auto count = static_cast<int>(layers.size());
  figure.coloring = Coloring::ordered;
  figure.colors = count;
  figure.legend = Legend::none;
  figure.caption = "Line: median of the channels; band: 25 to 75 %.";
  figure.columns = count == 4 ? 2 : std::min(count, panel_columns);
  figure.width_cm = count == 1 ? 14 : 18;
  const int rows = (count + figure.columns - 1) / figure.columns;
  figure.height_cm = count == 1 ? 9 : 2.4 + 4.6 * rows;
  return figure;
}

// Tics at the first channels of heads, as many as there is room for.
void mark_heads(std::int64_t head_size, std::size_t channels, Axis& axis) {
  const auto all = static_cast<std::int64_t>(channels);
  if (head_size <= 0 || head_size >= all || all % head_size != 0) return;
  const std::int64_t heads = all / head_size, step = (heads + most_head_tics - 1) / most_head_tics;
  axis.title = fmt::format("head ({} channels each)", head_size);
  for (std::int64_t head = 0; head < heads; head += step)
    axis.tics.emplace_back(static_cast<double>(head * head_size) - 0.5, std::to_string(head));
}

Panel map_panel(const DecayMap& map) {
  Panel panel;
  panel.title = map.title;
  HeatMap& heat = panel.heat.emplace();
  const bool are_spatial = map.layers.front().is_spatial;
  heat.title = are_spatial ? "spatial decay w" : "decay per token";
  heat.range = {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  std::size_t channels = 2;
  for (const LayerDecay& layer : map.layers) channels = std::max(channels, layer.time_decay.size());
  for (const LayerDecay& layer : map.layers) {
    std::vector<double>& row = heat.rows.emplace_back();
    for (const float w : layer.time_decay) row.push_back(are_spatial ? w : std::exp(-std::exp(static_cast<double>(w))));
    for (const double value : row) heat.range = {std::min(heat.range.first, value), std::max(heat.range.second, value)};
    row.resize(channels, std::nan(""));
    panel.y.tics.emplace_back(static_cast<double>(heat.rows.size() - 1), std::to_string(layer.layer));
  }
  panel.x = {"channel", false, std::pair{-0.5, static_cast<double>(channels) - 0.5}};
  mark_heads(map.layers.front().head_size, channels, panel.x);
  panel.y.title = "layer";
  panel.y.range = std::pair{-0.5, static_cast<double>(heat.rows.size()) - 0.5};
  return panel;
}

}  // namespace

Figure decay_map_figure(const std::vector<DecayMap>& maps) {
  Figure figure;
  std::size_t layers = 1;
  for (const DecayMap& map : maps) {
    figure.panels.push_back(map_panel(map));
    layers = std::max(layers, map.layers.size());
  }
  // One scale for all, so that they can be compared.
  std::pair<double, double> range = figure.panels.front().heat->range;
  for (const Panel& panel : figure.panels) {
    range = {std::min(range.first, panel.heat->range.first), std::max(range.second, panel.heat->range.second)};
  }
  for (Panel& panel : figure.panels) panel.heat->range = range;
  figure.legend = Legend::none;
  figure.width_cm = 16;
  figure.height_cm =
      1.2 + static_cast<double>(maps.size()) * (2.4 + 0.5 * static_cast<double>(std::min<std::size_t>(layers, 24)));
  return figure;
}

double growing_share(const std::vector<float>& decays) {
  const auto growing = std::count_if(decays.begin(), decays.end(), [](float w) { return w < 0; });
  return decays.empty() ? 0 : static_cast<double>(growing) / static_cast<double>(decays.size());
}

Figure spatial_decay_figure(const std::vector<LayerDecay>& layers, const DecayPlotOptions& options) {
  return options.profile ? profile_figure(layers) : ranked_figure(layers);
}

}  // namespace rwkvlab
