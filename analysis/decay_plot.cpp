#include "analysis/decay_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "analysis/spatial_decay_plot.h"
#include "base/error.h"
#include "base/file.h"
#include "config/yaml_reader.h"
#include "record/decays.h"
#include "record/run_file_reader.h"
#include "run/load_model.h"
#include "tensor/tensor_file.h"
#include "train/checkpoint.h"
#include "train/tuning.h"

namespace rwkvlab {

namespace fs = std::filesystem;

namespace {

constexpr const char* kCheckpointEnding = ".att.time_decay";
constexpr const char* kSpatialEnding = ".att.spatial_decay";
constexpr const char* kBonusEnding = ".att.time_faaaa";
constexpr std::size_t kLargestLegend = 12;

struct Source {
  fs::path path;
  bool is_run = false;
};

// HDF5 files begin with these eight bytes.
bool is_hdf5(const fs::path& path) {
  char start[8] = {};
  std::ifstream(path, std::ios::binary).read(start, sizeof start);
  return std::string_view(start, sizeof start) == std::string_view("\x89HDF\r\n\x1a\n", 8);
}

Source find_source(const fs::path& given) {
  std::error_code error;
  if (!fs::exists(given, error)) throw DataError(missing_file_text(given));
  if (!fs::is_directory(given, error)) return {given, is_hdf5(given)};
  if (fs::exists(given / "run.h5", error)) return {given / "run.h5", true};
  if (fs::exists(given / "model.safetensors", error)) return {given / "model.safetensors", false};
  throw DataError(fmt::format(
      "'{}' is neither a run folder (with run.h5) nor a checkpoint folder (with model.safetensors).", given.string()));
}

// The N of "blocks.N.", "blocks/N/" or "layers.N." in a name; -1 when there is none. A masked autoencoder's decoder
// does not count.
int layer_of(std::string_view name) {
  const std::size_t at = std::min(name.find("blocks"), name.find("layers"));
  if (at == std::string_view::npos || at + 7 >= name.size() || name.find("decoder_") < at) return -1;
  int layer = -1;
  for (std::size_t i = at + 7; i < name.size() && name[i] >= '0' && name[i] <= '9' && layer < 100000; ++i) {
    layer = std::max(layer, 0) * 10 + (name[i] - '0');
  }
  return layer;
}

std::vector<float> checked(std::vector<float> values, const fs::path& path, const std::string& name) {
  if (values.empty() || std::any_of(values.begin(), values.end(), [](float w) { return std::isnan(w); })) {
    throw DataError(
        fmt::format("{}: the time decay '{}' is empty or holds values that are not numbers.", path.string(), name));
  }
  return values;
}

std::string why_no_decays(const RunFileReader& reader) {
  const Node config = parse_yaml(reader.config(), reader.path().string() + ":/config");
  const Node* const every = config.find_path("log.decays_every");
  const bool is_set = every != nullptr && every->type() == Node::Type::integer && every->integer() > 0;
  return is_set
             ? "the run recorded no decays, so its model has none that is a parameter. --over-text draws decays that "
               "depend on the data."
             : "the run recorded no decays. Set 'log.decays_every' in the experiment file; decays that depend on the "
               "data are drawn with --over-text.";
}

// Channels per head of the run's model, where it gives a number; RWKV-4 and Vision-RWKV's mean have no heads.
std::int64_t head_size_of(const RunFileReader& reader) {
  const Node config = parse_yaml(reader.config(), reader.path().string() + ":/config");
  const Node* const size = config.find_path("model.time_mix.head_size");
  return size != nullptr && size->type() == Node::Type::integer ? size->integer() : 0;
}

std::vector<SeriesInfo> decay_series(const RunFileReader& reader) {
  std::vector<SeriesInfo> series;
  for (SeriesInfo& info : reader.list("decay/")) {
    if (info.kind == SeriesKind::tensor && info.records > 0) series.push_back(std::move(info));
  }
  if (series.empty()) throw DataError(fmt::format("{}: {}", reader.path().string(), why_no_decays(reader)));
  // By number, not by name: layer 10 comes after layer 9.
  std::stable_sort(series.begin(), series.end(),
                   [](const SeriesInfo& a, const SeriesInfo& b) { return layer_of(a.path) < layer_of(b.path); });
  return series;
}

int layer_or_position(const std::string& name, std::size_t position) {
  const int layer = layer_of(name);
  return layer >= 0 ? layer : static_cast<int>(position);
}

std::vector<LayerDecay> decays_of_run(const fs::path& path, std::optional<std::int64_t> step) {
  const RunFileReader reader(path);
  std::vector<LayerDecay> layers;
  for (const SeriesInfo& info : decay_series(reader)) {
    const std::vector<std::int64_t> steps = reader.steps(info.path);
    const auto end = step ? std::upper_bound(steps.begin(), steps.end(), *step) : steps.end();
    if (end == steps.begin()) {
      throw DataError(
          fmt::format("{}: there is no record of the decays at or before step {}; the first one is at step {}.",
                      path.string(), *step, steps.front()));
    }
    layers.push_back({layer_or_position(info.path, layers.size()),
                      checked(reader.tensor(info.path, end - steps.begin() - 1).values, path, info.path),
                      info.path.ends_with("spatial_decay"), head_size_of(reader)});
  }
  return layers;
}

// The decays among the weights, and what tells their heads; of fine-tuning, which may have trained others, those of the
// whole model.
std::vector<NamedTensor> decay_tensors(const fs::path& path) {
  const auto is_decay = [](std::string_view name) {
    const bool has_ending =
        name.ends_with(kCheckpointEnding) || name.ends_with(kSpatialEnding) || name.ends_with(kBonusEnding);
    return has_ending && layer_of(name) >= 0;
  };
  std::vector<NamedTensor> found;
  const TensorFile file = open_tensor_file(path);
  if (holds_tuning_alone(file)) {
    const TrainedModel tuned = load_trained_model(path, {.needs_tokenizer = false});
    found = weights_of(*tuned.root);
    std::erase_if(found, [&](const NamedTensor& each) { return !is_decay(each.name); });
    return found;
  }
  for (const std::string& name : file.names()) {
    if (is_decay(name)) found.push_back({name, file.tensor(name, DType::f32)});
  }
  return found;
}

std::vector<LayerDecay> decays_of_checkpoint(const fs::path& path) {
  std::map<int, std::vector<float>> by_layer;
  std::map<int, std::int64_t> head_sizes;
  bool are_spatial = false;
  for (const auto& [name, tensor] : decay_tensors(path)) {
    // The bonus of models with heads is [heads, channels of a head].
    if (name.ends_with(kBonusEnding)) {
      if (tensor.shape().rank() == 2) head_sizes[layer_of(name)] = tensor.shape()[1];
      continue;
    }
    are_spatial = are_spatial || name.ends_with(kSpatialEnding);
    const auto values = tensor.span<float>();
    by_layer[layer_of(name)] = checked({values.begin(), values.end()}, path, name);
  }
  if (by_layer.empty()) {
    throw DataError(fmt::format(
        "{}: there is no tensor 'blocks.N{}', so the model has no decay that is a parameter. --over-text draws decays "
        "that depend on the data.",
        path.string(), kCheckpointEnding));
  }
  std::vector<LayerDecay> layers;
  layers.reserve(by_layer.size());
  for (auto& [layer, values] : by_layer) layers.push_back({layer, std::move(values), are_spatial, head_sizes[layer]});
  return layers;
}

std::vector<double> shown_values(const std::vector<float>& time_decay, bool half_life) {
  if (!half_life) return sorted_decays(time_decay);
  std::vector<double> lives = half_lives(time_decay);
  std::sort(lives.begin(), lives.end(), std::greater<>());
  return lives;
}

Axis value_axis(const DecayPlotOptions& options) {
  Axis axis = options.half_life ? Axis{"half-life ln(2) e^{−w} (tokens)", true, std::nullopt}
                                : Axis{"decay per token e^{−e^{ w}}", false, std::pair{0.0, 1.0}};
  axis.has_markup = true;
  return axis;
}

// The order of layers is a line of colours; more layers than a legend can hold get a bar.
void color_by_depth(Figure& figure, std::size_t layers) {
  figure.coloring = Coloring::ordered;
  figure.colors = static_cast<int>(layers);
  figure.legend = layers <= kLargestLegend ? Legend::right : Legend::color_bar;
  figure.legend_title = "layer";
}

void refuse_half_life(const DecayPlotOptions& options) {
  if (options.half_life)
    throw ConfigError(
        "a spatial decay has no half-life: it depends on the number of tokens; --profile shows its weights");
}

Figure ranked_figure(const DecayPlotOptions& options) {
  const std::vector<LayerDecay> layers = read_decays(options.source, options.step);
  const bool are_spatial = layers.front().is_spatial;
  if (are_spatial) {
    refuse_half_life(options);
    return spatial_decay_figure(layers, options);
  }
  if (options.profile) throw ConfigError("--profile is for the spatial decays of Vision-RWKV; this model has none");
  Figure figure;
  Panel panel;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Curve curve;
    curve.label = std::to_string(layers[i].layer);
    curve.color = static_cast<int>(i);
    curve.y = shown_values(layers[i].time_decay, options.half_life);
    for (std::size_t rank = 1; rank <= curve.y.size(); ++rank) curve.x.push_back(static_cast<double>(rank));
    panel.curves.push_back(std::move(curve));
  }
  std::size_t channels = 2;
  for (const LayerDecay& layer : layers) channels = std::max(channels, layer.time_decay.size());
  panel.x = {"channel, sorted from slow to fast decay", false, std::pair{1.0, static_cast<double>(channels)}};
  panel.y = value_axis(options);
  color_by_depth(figure, layers.size());
  figure.panels.push_back(std::move(panel));
  return figure;
}

// Median, quartiles and 5 to 95 % of the channels of one layer at every record.
Panel history_panel(const LayerDecayHistory& layer, int color, const DecayPlotOptions& options) {
  Curve outer, inner, median;
  outer.color = inner.color = median.color = color;
  outer.opacity = 0.2;
  inner.opacity = 0.35;
  outer.label = "5 to 95 % of the channels";
  inner.label = "25 to 75 %";
  median.label = "median";
  for (std::size_t i = 0; i < layer.steps.size(); ++i) {
    const std::vector<float>& raw = layer.time_decay[i];
    std::vector<double> values =
        layer.is_spatial ? std::vector<double>(raw.begin(), raw.end()) : shown_values(raw, options.half_life);
    std::sort(values.begin(), values.end());
    for (Curve* curve : {&outer, &inner, &median}) curve->x.push_back(static_cast<double>(layer.steps[i]));
    outer.y.push_back(quantile(values, 0.05));
    outer.top.push_back(quantile(values, 0.95));
    inner.y.push_back(quantile(values, 0.25));
    inner.top.push_back(quantile(values, 0.75));
    median.y.push_back(quantile(values, 0.5));
  }
  Panel panel;
  panel.title = fmt::format("layer {}", layer.layer);
  if (layer.is_spatial) {
    panel.title += fmt::format(", {:.0f} to {:.0f} % grow", 100 * growing_share(layer.time_decay.front()),
                               100 * growing_share(layer.time_decay.back()));
  }
  panel.curves = {std::move(outer), std::move(inner), std::move(median)};
  panel.x = {"training step", false, std::nullopt};
  panel.y = layer.is_spatial ? Axis{"spatial decay w", false, std::nullopt} : value_axis(options);
  return panel;
}

Figure history_figure(const DecayPlotOptions& options) {
  if (options.profile) throw ConfigError("--profile is of one step; choose it or --over-training");
  if (options.step) {
    throw ConfigError("A figure over training shows all steps; choose either a step or the figure over training.");
  }
  const std::vector<LayerDecayHistory> layers = read_decay_history(options.source);
  const bool are_spatial = layers.front().is_spatial;
  if (are_spatial) refuse_half_life(options);
  Figure figure;
  figure.coloring = Coloring::ordered;
  figure.colors = static_cast<int>(layers.size());
  figure.legend = Legend::none;
  figure.caption = "Line: median of the channels; bands: 25 to 75 % and 5 to 95 %.";
  if (are_spatial) figure.caption += " Below 0 the weight of a token grows with its distance.";
  for (std::size_t i = 0; i < layers.size(); ++i) {
    figure.panels.push_back(history_panel(layers[i], static_cast<int>(i), options));
  }
  if (options.half_life) share_decades(figure);
  const int count = static_cast<int>(layers.size());
  figure.columns = count == 1 ? 1 : count <= 4 ? 2 : count <= 12 ? 3 : 4;
  const int rows = (count + figure.columns - 1) / figure.columns;
  figure.width_cm = count == 1 ? 14 : 18;
  figure.height_cm = count == 1 ? 9 : 2.4 + 4.6 * rows;
  return figure;
}

// Of a run, how it began and what became of it.
Figure map_figure(const DecayPlotOptions& options) {
  if (options.profile || options.over_training) throw ConfigError("choose one of --map, --profile and --over-training");
  if (options.half_life) throw ConfigError("--map shows decays, not half-lives");
  if (options.step || !find_source(options.source).is_run)
    return decay_map_figure({{"", read_decays(options.source, options.step)}});
  const std::vector<LayerDecayHistory> layers = read_decay_history(options.source);
  const std::int64_t head_size = head_size_of(RunFileReader(find_source(options.source).path));
  DecayMap first, last;
  for (const LayerDecayHistory& layer : layers) {
    first.layers.push_back({layer.layer, layer.time_decay.front(), layer.is_spatial, head_size});
    last.layers.push_back({layer.layer, layer.time_decay.back(), layer.is_spatial, head_size});
  }
  first.title = fmt::format("step {}", layers.front().steps.front());
  last.title = fmt::format("step {}", layers.front().steps.back());
  if (layers.front().steps.size() == 1) return decay_map_figure({last});
  return decay_map_figure({first, last});
}

}  // namespace

double quantile(const std::vector<double>& sorted, double q) {
  check_invariant(!sorted.empty(), "a quantile of nothing is asked for");
  const double position = std::clamp(q, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double fraction = position - static_cast<double>(below);
  // Equal neighbours first: the difference of two infinities is not a number.
  if (fraction == 0 || sorted[below] == sorted[above]) return sorted[below];
  return sorted[below] + fraction * (sorted[above] - sorted[below]);
}

std::vector<LayerDecay> read_decays(const fs::path& source, std::optional<std::int64_t> step) {
  const Source found = find_source(source);
  // A run that recorded none has them in its checkpoints.
  if (found.is_run && !step && RunFileReader(found.path).list("decay/").empty() &&
      !CheckpointFolder(source / "checkpoints", 0).list().empty()) {
    return decays_of_checkpoint(weights_file(source));
  }
  if (found.is_run) return decays_of_run(found.path, step);
  if (step) {
    throw ConfigError(fmt::format("'{}' is a checkpoint and holds one step only; a step can be chosen in a run file.",
                                  found.path.string()));
  }
  return decays_of_checkpoint(found.path);
}

std::vector<LayerDecayHistory> read_decay_history(const fs::path& source) {
  const Source found = find_source(source);
  if (!found.is_run) {
    throw DataError(fmt::format(
        "'{}' is a checkpoint and holds one step only; a figure over training needs a run file.", found.path.string()));
  }
  const RunFileReader reader(found.path);
  std::vector<LayerDecayHistory> layers;
  for (const SeriesInfo& info : decay_series(reader)) {
    LayerDecayHistory layer{
        layer_or_position(info.path, layers.size()), reader.steps(info.path), {}, info.path.ends_with("spatial_decay")};
    for (std::int64_t record = 0; record < info.records; ++record) {
      layer.time_decay.push_back(checked(reader.tensor(info.path, record).values, found.path, info.path));
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

Figure decay_figure(const DecayPlotOptions& options) {
  Figure figure = options.map             ? map_figure(options)
                  : options.over_training ? history_figure(options)
                                          : ranked_figure(options);
  figure.title = options.title;
  return figure;
}

FigureFiles plot_decay(const DecayPlotOptions& options) { return draw_figure(decay_figure(options), options.output); }

}  // namespace rwkvlab
