#include "analysis/receptive_field_plot.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "data/image_data_set.h"
#include "models/receptive_field.h"
#include "run/load_image_model.h"

namespace rwkvlab {
namespace {

constexpr std::int64_t images_at_once = 8;
// Of a map beside another one and their bars of colours, so that pixels are squares.
constexpr double panel_width_cm = 5.8;
// The bar's title needs as much.
constexpr double least_height_cm = 2.6;

// The sum over the images of what receptive_field says of some at a time.
std::vector<double> field_of(const ImageBackbone& backbone, const std::vector<Tensor>& batches) {
  std::vector<double> sum;
  for (const Tensor& images : batches) {
    const std::vector<double> one = receptive_field(backbone, Var(images));
    sum.resize(one.size(), 0.0);
    std::transform(sum.begin(), sum.end(), one.begin(), sum.begin(), std::plus<>());
  }
  return sum;
}

std::vector<Tensor> held_out_images(const ImageDataSet& data, std::int64_t count) {
  std::vector<Tensor> batches;
  const std::int64_t available = data.held_out_batches(images_at_once);
  for (std::int64_t i = 0; i < available && count > 0; ++i) {
    const Tensor images = data.held_out_images(i, images_at_once).images;
    const std::int64_t taken = std::min(count, images.shape()[0]);
    batches.push_back(images.rows(0, taken));
    count -= taken;
  }
  if (batches.empty()) throw DataError("there are no held-out images to look at");
  return batches;
}

ReceptiveField measure(const std::filesystem::path& run, const std::string& label, std::int64_t images) {
  TrainedImageModel trained = open_image_model(run);
  const ImageBackbone* const backbone = trained.model->image_backbone();
  if (backbone == nullptr) {
    throw ConfigError(
        fmt::format("{}: this model has no feature map with a middle; take a classifier or a segmenter", run.string()));
  }
  const std::vector<Tensor> batches = held_out_images(image_data(*trained.built.data), images);
  ReceptiveField field;
  field.label = label.empty() ? trained.loaded.experiment.name : label;
  field.height = batches.front().shape()[2];
  field.width = batches.front().shape()[3];
  for (const Tensor& batch : batches) field.images += batch.shape()[0];
  field.before = field_of(*backbone, batches);
  trained.load_weights();
  field.after = field_of(*backbone, batches);
  return field;
}

Panel map_panel(const ReceptiveField& field, bool is_last) {
  const std::vector<double>& contribution = is_last ? field.after : field.before;
  const std::vector<double> values = receptive_field_map(contribution);
  HeatMap map;
  for (std::int64_t row = field.height - 1; row >= 0; --row) {  // Row 0 of a map is its lowest.
    const auto first = values.begin() + row * field.width;
    map.rows.emplace_back(first, first + field.width);
  }
  map.range = {0, 1};
  map.title = "log contribution";  // The caption says the rest: a wide image leaves the bar little height.
  const auto side = [&](double share) { return receptive_field_side(contribution, field.height, field.width, share); };
  Panel panel;
  panel.title = fmt::format("{}, {}: {}, {}, {} px", field.label, is_last ? "after training" : "before", side(0.2),
                            side(0.5), side(0.99));
  for (std::int64_t quarter = 0; quarter < 4; ++quarter) {  // Rows are counted from the top.
    const std::int64_t row = quarter * field.height / 4;
    panel.y.tics.emplace_back(static_cast<double>(field.height - 1 - row), std::to_string(row));
  }
  panel.x = {"", false, std::pair{-0.5, static_cast<double>(field.width) - 0.5}};
  panel.y.range = std::pair{-0.5, static_cast<double>(field.height) - 0.5};
  panel.heat = std::move(map);
  return panel;
}

}  // namespace

std::vector<ReceptiveField> measure_receptive_fields(const ReceptiveFieldPlotOptions& options) {
  if (!options.labels.empty() && options.labels.size() != options.runs.size()) {
    throw ConfigError(fmt::format("there are {} labels for {} runs; give one for each, or none", options.labels.size(),
                                  options.runs.size()));
  }
  std::vector<ReceptiveField> fields;
  for (std::size_t i = 0; i < options.runs.size(); ++i)
    fields.push_back(measure(options.runs[i], options.labels.empty() ? "" : options.labels[i], options.images));
  return fields;
}

Figure receptive_field_figure(const std::vector<ReceptiveField>& fields) {
  Figure figure;
  for (const ReceptiveField& field : fields) {
    figure.panels.push_back(map_panel(field, false));
    figure.panels.push_back(map_panel(field, true));
  }
  figure.columns = 2;
  figure.width_cm = 18;
  figure.height_cm = 1.6;
  for (const ReceptiveField& field : fields)
    figure.height_cm += 1.4 + std::max(least_height_cm, panel_width_cm * static_cast<double>(field.height) /
                                                            static_cast<double>(field.width));
  figure.legend = Legend::none;
  figure.caption = fmt::format(
      "Titles: sides of the squares around the middle with 20, 50 and 99 % of all contributions. "
      "Colours: log10(1 + contribution) over the largest of the map. {} images.",
      fields.empty() ? 0 : fields.front().images);
  return figure;
}

FigureFiles plot_receptive_field(const ReceptiveFieldPlotOptions& options) {
  Figure figure = receptive_field_figure(measure_receptive_fields(options));
  figure.title = options.title;
  return draw_figure(figure, options.output);
}

}  // namespace rwkvlab
