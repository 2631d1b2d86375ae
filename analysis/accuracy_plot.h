// How a result depends on one axis of a sweep: accuracy by width.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/figure.h"

namespace rwkvlab {

struct AccuracyPlotOptions {
  std::vector<std::filesystem::path> sources;  ///< One sweep folder, or runs (read_results).
  std::string x;                               ///< The axis to show along x; numbers, or else categories.
  std::vector<std::string> metrics;            ///< One panel each; empty: the default of tables.
  std::vector<std::string> group;              ///< Axes that tell lines apart; empty: all that are not reduced.
  std::string panels;                          ///< Axis with one panel for each of its values; empty: none.
  std::string value = "last";                  ///< last, best or first record of each run.
  bool logarithmic_x = false;
  std::filesystem::path output;  ///< .svg, .pdf or .png.
  std::string title;
};

/// Draws one line for each group: the mean over seeds at every value of the axis, and a band of one standard deviation
/// (n - 1). The best-of rule of a sweep is applied first. Values without a finished run leave a gap; the caption counts
/// what is missing. Throws what read_results, group_runs and draw_figure throw, and ConfigError for options that do not
/// fit, such as a logarithmic axis of categories.
FigureFiles plot_accuracy(const AccuracyPlotOptions& options);

/// The figure that plot_accuracy draws.
Figure accuracy_figure(const AccuracyPlotOptions& options);

}  // namespace rwkvlab
