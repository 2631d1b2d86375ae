// Loss by position: how much a model gains from what came before.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/figure.h"

namespace rwkvlab {

struct PositionPlotOptions {
  /// Files of `rwkvlab eval text`, or run folders: their eval.h5, or the run.h5 of a training with `eval.by_position`.
  std::vector<std::filesystem::path> sources;
  std::vector<std::string> labels;  ///< one per source; empty: their names
  std::string name;                 ///< of one evaluation (`eval text --name`); empty: all in a file, a line each
  std::filesystem::path output;     ///< .svg, .pdf or .png
  /// Positions over which the loss is smoothed as in plot_loss; 0: none. The caption records it.
  double smoothing = 0;
  bool logarithmic_x = false;
  std::string title;
};

/// Draws /probes/eval/<name>/loss_by_position of every source. Throws DataError for a source without it, or when
/// positions of a context meet windows of a carried state; ConfigError for options that do not fit; and what
/// draw_figure throws.
FigureFiles plot_positions(const PositionPlotOptions& options);

/// The figure that plot_positions draws.
Figure position_figure(const PositionPlotOptions& options);

}  // namespace rwkvlab
