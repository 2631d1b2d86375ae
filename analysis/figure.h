// Figures made of line plots. gnuplot draws them from a script and a data file that stay beside the figure, so that a
// person can restyle it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rwkvlab {

/// One curve, or one band between two curves.
struct Curve {
  std::string label;        ///< Legend entry; none when empty. Taken literally.
  std::vector<double> x;    ///< Points with a value that is not finite leave a gap.
  std::vector<double> y;    ///< Of a band: its lower edge.
  std::vector<double> top;  ///< Of a band: its upper edge; empty for a curve.
  int color = 0;            ///< Index into the colours of the figure; curves of one thing share it.
  double opacity = 1;       ///< In (0, 1].
  double width = 1.6;       ///< Line width, in points.
  bool has_points = false;  ///< Marks every point.
  bool is_dashed = false;
};

struct Axis {
  std::string title;  ///< With its unit: "training step", "loss (nats per token)". Taken literally, or as markup.
  bool is_logarithmic = false;
  std::optional<std::pair<double, double>> range;         ///< Chosen by gnuplot when absent.
  std::vector<std::pair<double, std::string>> tics = {};  ///< Where and what, taken literally; empty: by gnuplot.
  double step = 0;          ///< Between tics; 0: chosen by gnuplot, which does not know how much room there is.
  bool has_markup = false;  ///< The title uses gnuplot's ^{} and _{}.
};

/// Values on a grid as colours, from dark (low) to light.
struct HeatMap {
  std::vector<std::vector<double>> rows;  ///< [row][column], row 0 lowest; cell (r, c) is around x = c, y = r.
  std::pair<double, double> range;        ///< Values of the ends of the colours; the same for all maps of a row.
  bool is_logarithmic = false;
  std::string title;  ///< Of the bar of colours.
};

/// One set of axes.
struct Panel {
  std::string title;
  Axis x, y;
  std::vector<Curve> curves;
  std::optional<HeatMap> heat = {};  ///< In place of curves.
};

/// What the colours of the curves stand for.
enum class Coloring {
  categories,  ///< Unordered things, seven colours, then the same again dotted (palette of Okabe and Ito).
  ordered,     ///< Layers by depth: dark to light, even in lightness, readable without colour vision (viridis).
};

enum class Legend {
  none,
  inside,     ///< In the corner `legend_corner`.
  right,      ///< Beside the axes, or beside all panels.
  color_bar,  ///< A bar of all colours with the title `legend_title`; for ordered colours.
};

struct Figure {
  std::string title;    ///< Above the panels; none when empty. Taken literally.
  std::string caption;  ///< Small print below the panels, for example what was smoothed. Taken literally.
  std::vector<Panel> panels;
  int columns = 1;  ///< Panels side by side.
  Coloring coloring = Coloring::categories;
  int colors = 1;  ///< How many colours `ordered` spreads over.
  Legend legend = Legend::inside;
  std::string legend_corner = "top right";  ///< gnuplot's words.
  std::string legend_title;
  double width_cm = 14;
  double height_cm = 9;
};

/// Where a figure is, and what it was made from.
struct FigureFiles {
  std::filesystem::path figure;  ///< SVG, PDF or PNG.
  std::filesystem::path script;  ///< `gnuplot <name>.gp` in that folder draws the figure again.
  std::filesystem::path data;    ///< One block of columns per curve.
};

/// Writes `<name>.gp` and `<name>.dat` beside `output` and runs gnuplot; the extension of `output` (.svg, .pdf, .png)
/// chooses the format. Throws ConfigError for another extension, FileError when a file cannot be written, gnuplot is
/// missing (the script and the data stay) or gnuplot fails.
FigureFiles draw_figure(const Figure& figure, const std::filesystem::path& output);

/// The text of the script that draws `figure` to `output_name` from `data_name`, both in the current folder.
std::string gnuplot_script(const Figure& figure, const std::string& output_name, const std::string& data_name);
/// The text of the data file: blocks in the order of panels and curves, columns x and y, or x, lower and upper edge.
std::string gnuplot_data(const Figure& figure);

/// 1, 2 or 5 times a power of ten: the distance of about `tics` tics on an axis that is `width` > 0 long.
double nice_step(double width, int tics);

/// Gives all panels one vertical axis of whole decades around their first bands, so that they can be compared. Leaves
/// values that are not positive or not finite to gnuplot.
void share_decades(Figure& figure);

/// "#rrggbb" of colour `index` of the figure.
std::string color_of(const Figure& figure, int index);

}  // namespace rwkvlab
