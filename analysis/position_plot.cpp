#include "analysis/position_plot.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <numeric>

#include "analysis/loss_plot.h"
#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "record/run_file_reader.h"
#include "run/recorded_run.h"

namespace rwkvlab {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "probes/eval/", suffix = "/loss_by_position";
// What a run records itself (`eval.by_position`), of its held-out data.
constexpr std::string_view of_training = "probes/eval/loss_by_position", held_out = "held out";

fs::path evaluation_of(const fs::path& given) {
  std::error_code ignored;
  if (!fs::exists(given, ignored)) throw DataError(missing_file_text(given));
  const fs::path source = recorded_run(given);
  if (!fs::is_directory(source, ignored)) return source;
  for (const char* const name : {"eval.h5", "run.h5"}) {
    if (fs::exists(source / name, ignored)) return source / name;
  }
  throw DataError(fmt::format("there is no eval.h5 in '{}': evaluate the model first, with `rwkvlab eval text {} FILE`",
                              source.string(), source.string()));
}

// "runs/small/eval.h5" and "runs/small/" are "small".
std::string name_of(const fs::path& file) {
  const fs::path absolute = fs::absolute(file).lexically_normal(), name = absolute.filename();
  return (name == "eval.h5" || name == "run.h5") && absolute.parent_path().has_filename()
             ? absolute.parent_path().filename().string()
             : absolute.stem().string();
}

/// The losses of one evaluation.
struct Losses {
  std::string name, dimension;
  std::vector<float> values;
};

std::vector<Losses> read_losses(const fs::path& file, const std::string& wanted) {
  const RunFileReader reader(file);
  std::vector<Losses> all;
  std::vector<std::string> names;
  for (const SeriesInfo& info : reader.list(prefix)) {
    if (info.kind != SeriesKind::tensor || info.shape.size() != 1 || !info.path.ends_with(suffix)) continue;
    const std::string name = info.path == of_training
                                 ? std::string(held_out)
                                 : info.path.substr(prefix.size(), info.path.size() - prefix.size() - suffix.size());
    names.push_back(name);
    if (wanted.empty() || wanted == name) {
      all.push_back(
          {name, info.dimensions.empty() ? "position" : info.dimensions.back(), reader.tensor(info.path).values});
    }
  }
  if (names.empty()) {
    throw DataError(
        fmt::format("'{}' holds no losses by position: expected what `rwkvlab eval text` records, or a training with "
                    "`eval.by_position`",
                    file.string()));
  }
  if (all.empty()) {
    throw DataError(fmt::format("'{}' has no evaluation '{}'{}; there is {}", file.string(), wanted,
                                did_you_mean(wanted, names), fmt::join(names, ", ")));
  }
  return all;
}

}  // namespace

Figure position_figure(const PositionPlotOptions& options) {
  if (options.sources.empty()) throw ConfigError("a figure of losses by position needs an evaluation at least");
  if (!options.labels.empty() && options.labels.size() != options.sources.size()) {
    throw ConfigError(fmt::format("there are {} labels for {} sources; give one label for each, or none",
                                  options.labels.size(), options.sources.size()));
  }
  if (!(options.smoothing >= 0) || !std::isfinite(options.smoothing)) {
    throw ConfigError(
        fmt::format("the loss cannot be smoothed over {} positions; expected 0 or more", options.smoothing));
  }
  Figure figure;
  Panel panel;
  std::string dimension;
  for (std::size_t i = 0; i < options.sources.size(); ++i) {
    const fs::path file = evaluation_of(options.sources[i]);
    const std::vector<Losses> evaluations = read_losses(file, options.name);
    for (const Losses& losses : evaluations) {
      if (!dimension.empty() && dimension != losses.dimension) {
        throw DataError(fmt::format("'{}' of '{}' has losses by {}, others have them by {}: draw them separately",
                                    losses.name, file.string(), losses.dimension, dimension));
      }
      dimension = losses.dimension;
      Curve curve;
      curve.label = options.labels.empty() ? name_of(file) : options.labels[i];
      if (evaluations.size() > 1) curve.label += ", " + losses.name;
      curve.color = static_cast<int>(panel.curves.size());
      std::vector<std::int64_t> positions(losses.values.size());
      std::iota(positions.begin(), positions.end(), std::int64_t{1});
      curve.x.assign(positions.begin(), positions.end());
      curve.y = smooth(positions, {losses.values.begin(), losses.values.end()}, options.smoothing);
      curve.has_points = curve.x.size() <= 60;
      panel.curves.push_back(std::move(curve));
    }
  }
  panel.x = {dimension == "window" ? "window from the beginning of the text" : "position in the context (tokens)",
             options.logarithmic_x, std::nullopt};
  panel.y = {"loss (nats per token)", false, std::nullopt};
  figure.legend = panel.curves.size() == 1 ? Legend::none : panel.curves.size() <= 3 ? Legend::inside : Legend::right;
  if (figure.legend == Legend::right) figure.width_cm = 18;
  if (options.smoothing > 0)
    figure.caption = fmt::format("Exponential moving average over {:g} positions.", options.smoothing);
  figure.title = options.title;
  figure.panels.push_back(std::move(panel));
  return figure;
}

FigureFiles plot_positions(const PositionPlotOptions& options) {
  return draw_figure(position_figure(options), options.output);
}

}  // namespace rwkvlab
