// Learning curves of the variants of a sweep, or of several runs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/figure.h"

namespace rwkvlab {

struct CurvesPlotOptions {
  std::vector<std::filesystem::path> sources;  ///< One sweep folder, or runs (read_results).
  std::vector<std::string> metrics;            ///< One row of panels each; empty: the default of tables.
  std::string x = "step";                      ///< step or tokens.
  std::vector<std::string> group;              ///< Axes that tell lines apart; empty: all that are not reduced.
  std::string panels;                          ///< Axis with one panel for each of its values; empty: none.
  double smoothing = 0;  ///< Steps of an exponential moving average of every run (loss_plot.h); 0: none.
  bool logarithmic_x = false;
  std::filesystem::path output;  ///< .svg, .pdf or .png.
  std::string title;
};

/// Draws one line for each variant, the mean over its seeds, and a band of one standard deviation (n - 1) around it,
/// at the steps that all its seeds have recorded. The best-of rule of a sweep is applied first. Runs that failed are
/// left out and counted in the caption. Throws what read_results, group_runs and draw_figure throw; ConfigError for
/// options that do not fit; DataError when no run has recorded the metric.
FigureFiles plot_curves(const CurvesPlotOptions& options);

/// The figure that plot_curves draws.
Figure curves_figure(const CurvesPlotOptions& options);

}  // namespace rwkvlab
