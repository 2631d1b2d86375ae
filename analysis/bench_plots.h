// Figures of what `rwkvlab bench` has measured: generation against the position, training against the context, models
// of images against the size of the images.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/figure.h"

namespace rwkvlab {

struct BenchPlotOptions {
  std::vector<std::filesystem::path> files;  ///< what `rwkvlab bench … -o FILE` has written
  std::string y;                             ///< one of the names below; empty: the first
  std::filesystem::path output;              ///< .svg, .pdf or .png
  std::string title;
};

/// What can be shown of `bench generate`: "time" of a token, bytes of the "state", "memory" (the most that tensors hold
/// while a token comes), "cumulative" time of all tokens so far.
std::vector<std::string> generation_quantities();
/// What can be shown of `bench context`: "time" of a step, "memory", "throughput" in tokens per second.
std::vector<std::string> context_quantities();
/// What can be shown of `bench resolution`: "time" and "memory" of a forward pass, and with `--training`
/// "training_time" and "training_memory" of a forward and backward pass.
std::vector<std::string> resolution_quantities();

/// Draws a line per workload (and format, threads and sequences, where these differ) over the number of tokens before
/// the one that is timed. Throws DataError naming a file that is no such result or lacks the quantity; ConfigError for
/// an unknown quantity or no file; and what draw_figure throws.
FigureFiles plot_generation(const BenchPlotOptions& options);
/// The same over the context's length.
FigureFiles plot_context(const BenchPlotOptions& options);
/// The same over the side of the images.
FigureFiles plot_resolution(const BenchPlotOptions& options);

/// The figures that these draw.
Figure generation_figure(const BenchPlotOptions& options);
Figure context_figure(const BenchPlotOptions& options);
Figure resolution_figure(const BenchPlotOptions& options);

}  // namespace rwkvlab
