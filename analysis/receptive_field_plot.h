// What the middle of an image model depends on: plots of effective receptive fields.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "analysis/figure.h"

namespace rwkvlab {

struct ReceptiveFieldPlotOptions {
  std::vector<std::filesystem::path> runs;  ///< run folders or checkpoints of models of images
  std::filesystem::path output;             ///< .svg, .pdf or .png
  std::vector<std::string> labels;          ///< one per run; empty: the names of the runs
  std::int64_t images = 50;                 ///< held-out images, at most so many
  std::string title;
};

/// The effective receptive field of a model, see models/receptive_field.h.
struct ReceptiveField {
  std::string label;
  std::int64_t height = 0, width = 0, images = 0;
  std::vector<double> before, after;  ///< contributions [height, width] of the initial and of the trained weights
};

/// Runs the models over held-out images of their data. Throws DataError and ConfigError.
std::vector<ReceptiveField> measure_receptive_fields(const ReceptiveFieldPlotOptions& options);
/// One row of maps per run, before and after training: log10(contribution + 1) over its maximum. Titles give the sides
/// of the squares that hold 20, 50 and 99 % of the contributions.
Figure receptive_field_figure(const std::vector<ReceptiveField>& fields);
/// Both, and draws the figure.
FigureFiles plot_receptive_field(const ReceptiveFieldPlotOptions& options);

}  // namespace rwkvlab
