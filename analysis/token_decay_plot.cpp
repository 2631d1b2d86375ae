#include "analysis/token_decay_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "analysis/decay_plot.h"
#include "base/error.h"

namespace rwkvlab {
namespace {

constexpr std::int64_t heat_map_tokens = 64;
constexpr double half_box = 0.36;

double shown(double log_decay, const TokenDecayPlotOptions& options) {
  return options.half_life ? std::numbers::ln2 / -log_decay : std::exp(log_decay);
}

Axis decay_axis(const TokenDecayPlotOptions& options) {
  return options.half_life ? Axis{"half-life (tokens)", true, std::nullopt}
                           : Axis{"decay per token w", false, std::pair{0.0, 1.0}};
}

std::vector<const LayerTokenDecay*> chosen_layers(const TokenDecays& decays, const TokenDecayPlotOptions& options) {
  std::vector<const LayerTokenDecay*> layers;
  std::vector<std::string> known;
  for (const LayerTokenDecay& layer : decays.layers) {
    known.push_back(std::to_string(layer.layer));
    if (!options.layer || *options.layer == layer.layer) layers.push_back(&layer);
  }
  if (layers.empty()) {
    throw ConfigError(
        fmt::format("--layer {}: there is no such layer with decays that depend on the data; there are {}",
                    *options.layer, fmt::join(known, ", ")));
  }
  if (options.head) {
    if (!options.heat_map) throw ConfigError("--head chooses a head of a heat map; add --heatmap");
    if (!options.layer) throw ConfigError("--head needs the layer too; add --layer");
    if (*options.head < 0 || *options.head >= layers.front()->heads) {
      throw ConfigError(fmt::format("--head {}: layer {} has the heads 0 to {}", *options.head, *options.layer,
                                    layers.front()->heads - 1));
    }
  }
  return layers;
}

// A box as part of one band: between boxes the band has no height.
void add_box(Curve& band, double x, double low, double high) {
  const double middle = (low + high) / 2;
  for (const auto& [at, bottom, top] : {std::tuple{x - half_box, middle, middle},
                                        {x - half_box, low, high},
                                        {x + half_box, low, high},
                                        {x + half_box, middle, middle}}) {
    band.x.push_back(at);
    band.y.push_back(bottom);
    band.top.push_back(top);
  }
}

Panel distribution_panel(const LayerTokenDecay& layer, const TokenDecayPlotOptions& options) {
  Curve outer, inner, median;
  outer.opacity = 0.22;
  inner.opacity = 0.5;
  median.width = 2;
  for (std::int64_t head = 0; head < layer.heads; ++head) {
    std::vector<double> values;
    for (std::int64_t token = 0; token < layer.tokens(); ++token) {
      for (std::int64_t c = 0; c < layer.channels; ++c) values.push_back(shown(layer.at(token, head, c), options));
    }
    std::sort(values.begin(), values.end());
    const auto x = static_cast<double>(head);
    add_box(outer, x, quantile(values, 0.05), quantile(values, 0.95));
    add_box(inner, x, quantile(values, 0.25), quantile(values, 0.75));
    const double middle = quantile(values, 0.5);
    for (const auto& [at, y] : {std::pair{x - half_box, middle}, {x + half_box, middle}, {x + half_box, NAN}}) {
      median.x.push_back(at);
      median.y.push_back(y);
    }
  }
  Panel panel;
  panel.title = fmt::format("layer {}", layer.layer);
  panel.curves = {std::move(outer), std::move(inner), std::move(median)};
  panel.x = {"head", false, std::pair{-0.6, static_cast<double>(layer.heads) - 0.4}};
  panel.x.step = std::max(1.0, std::ceil(static_cast<double>(layer.heads) / 12));
  panel.y = decay_axis(options);
  return panel;
}

Figure distribution_figure(const std::vector<const LayerTokenDecay*>& layers, const TokenDecayPlotOptions& options) {
  Figure figure;
  for (const LayerTokenDecay* const layer : layers) figure.panels.push_back(distribution_panel(*layer, options));
  if (options.half_life) share_decades(figure);
  figure.legend = Legend::none;
  const auto count = static_cast<int>(layers.size());
  figure.columns = count == 1 ? 1 : count <= 4 ? 2 : count <= 12 ? 3 : 4;
  const int rows = (count + figure.columns - 1) / figure.columns;
  figure.width_cm = count == 1 ? 14 : 18;
  figure.height_cm = count == 1 ? 9 : 2.4 + 4.6 * rows;
  figure.caption = "Each head: median, 25 to 75 % and 5 to 95 % over tokens and channels;";
  return figure;
}

// ln w of a head at a token, the mean over its channels.
double mean_log_decay(const LayerTokenDecay& layer, std::int64_t token, std::int64_t head) {
  double sum = 0;
  for (std::int64_t channel = 0; channel < layer.channels; ++channel) sum += layer.at(token, head, channel);
  return sum / static_cast<double>(layer.channels);
}

// Rows of the map from below to above: heads, or the channels of a head from fast to slow.
std::vector<std::vector<double>> map_rows(const LayerTokenDecay& layer, const TokenDecayPlotOptions& options) {
  std::vector<std::vector<double>> logs;
  const std::int64_t count = options.head ? layer.channels : layer.heads;
  for (std::int64_t row = 0; row < count; ++row) {
    std::vector<double>& values = logs.emplace_back();
    for (std::int64_t token = 0; token < layer.tokens(); ++token) {
      values.push_back(options.head ? layer.at(token, *options.head, row) : mean_log_decay(layer, token, row));
    }
  }
  if (options.head) {
    const auto total = [](const std::vector<double>& row) { return std::accumulate(row.begin(), row.end(), 0.0); };
    std::stable_sort(logs.begin(), logs.end(), [&](const auto& a, const auto& b) { return total(a) < total(b); });
  }
  for (std::vector<double>& row : logs) {
    for (double& value : row) value = shown(value, options);
  }
  return logs;
}

Figure heat_map_figure(const TokenDecays& decays, const std::vector<const LayerTokenDecay*>& layers,
                       const TokenDecayPlotOptions& options) {
  Figure figure;
  HeatMap map;
  map.title = decay_axis(options).title;
  map.is_logarithmic = options.half_life;
  map.range = {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  std::size_t most_rows = 0;
  for (const LayerTokenDecay* const layer : layers) {
    Panel& panel = figure.panels.emplace_back();
    panel.title = fmt::format("layer {}", layer->layer);
    if (options.head) panel.title += fmt::format(", head {}", *options.head);
    HeatMap& of_layer = panel.heat.emplace(map);
    of_layer.rows = map_rows(*layer, options);
    for (const auto& row : of_layer.rows) {
      for (const double value : row) {
        if (std::isfinite(value)) map.range = {std::min(map.range.first, value), std::max(map.range.second, value)};
      }
    }
    const auto rows = of_layer.rows.size();
    most_rows = std::max(most_rows, rows);
    panel.x = {"token", false, std::pair{-0.5, static_cast<double>(decays.tokens.size()) - 0.5}};
    for (std::size_t i = 0; i < decays.tokens.size(); ++i) {
      panel.x.tics.emplace_back(static_cast<double>(i), decays.tokens[i]);
    }
    panel.y = {options.head ? "channel, slow above" : "head", false, std::pair{-0.5, static_cast<double>(rows) - 0.5}};
    panel.y.step = std::max(1.0, std::ceil(static_cast<double>(rows) / 8));
  }
  // One scale for all layers.
  for (Panel& panel : figure.panels) panel.heat->range = map.range;
  figure.legend = Legend::none;
  const auto tokens = static_cast<double>(decays.tokens.size());
  figure.width_cm = std::clamp(4.4 + 0.24 * tokens, 14.0, 60.0);
  const double panel_height = std::clamp(0.22 * static_cast<double>(most_rows), 2.4, 9.0);
  figure.height_cm = 2.8 + (panel_height + 1.4) * static_cast<double>(layers.size());
  figure.caption = options.head ? "Channels sorted by their mean;" : "Each head: geometric mean of its channels;";
  return figure;
}

}  // namespace

Figure token_decay_figure(const TokenDecays& decays, const TokenDecayPlotOptions& options) {
  const std::vector<const LayerTokenDecay*> layers = chosen_layers(decays, options);
  Figure figure = options.heat_map ? heat_map_figure(decays, layers, options) : distribution_figure(layers, options);
  figure.title = options.title;
  figure.caption += fmt::format(" {}.", decays.source);
  if (options.half_life) figure.caption += " Half-life: ln 2 divided by -ln w.";
  return figure;
}

FigureFiles plot_token_decay(const TokenDecayPlotOptions& options) {
  if (options.tokens < 0) throw ConfigError(fmt::format("--tokens {}: expected 1 or more", options.tokens));
  const std::int64_t count = options.tokens == 0 && options.heat_map ? heat_map_tokens : options.tokens;
  return draw_figure(
      token_decay_figure(read_token_decays(options.source, options.text, count, options.tokenizer), options),
      options.output);
}

}  // namespace rwkvlab
