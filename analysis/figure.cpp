#include "analysis/figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

#include "analysis/display_width.h"
#include "analysis/gnuplot.h"
#include "analysis/heat_map.h"
#include "base/error.h"
#include "base/file.h"

namespace rwkvlab {

namespace {

// Okabe and Ito, "Color Universal Design" (2008); black and the dark colours first, the pale yellow left out because it
// does not show on white.
constexpr std::array<const char*, 7> kCategories{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                 "#e69f00", "#56b4e9", "#000000"};

constexpr double kCaptionLineCm = 0.36;

std::string extension_of(const std::string& name) {
  std::string extension = std::filesystem::path(name).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

// SVG counts in pixels of 1/96 inch (37.8 per cm); PNG gets 300 dots per inch.
std::string terminal(const Figure& figure, const std::string& output_name) {
  const std::string extension = extension_of(output_name);
  if (extension == ".svg") {
    return fmt::format("svg size {:.0f},{:.0f} font 'sans-serif,13' background '#ffffff' linewidth 1.2",
                       figure.width_cm * 37.8, figure.height_cm * 37.8);
  }
  if (extension == ".pdf") {
    return fmt::format("pdfcairo size {:.1f}cm,{:.1f}cm font 'sans-serif,9' linewidth 1 rounded", figure.width_cm,
                       figure.height_cm);
  }
  check_invariant(extension == ".png", "a figure has an unknown format");
  return fmt::format("pngcairo size {:.0f},{:.0f} font 'sans-serif,9' fontscale 3.125 linewidth 3.125 rounded",
                     figure.width_cm * 118.1, figure.height_cm * 118.1);
}

// Room for a legend beside several panels; a letter takes about 0.18 cm.
double legend_width_cm(const Figure& figure) {
  if (figure.legend != Legend::right) return 0;
  std::size_t longest = figure.legend_title.size();
  for (const Panel& panel : figure.panels) {
    for (const Curve& curve : panel.curves) longest = std::max(longest, curve.label.size());
  }
  return 1.6 + 0.18 * static_cast<double>(longest);
}

// Room for the bar of colours beside heat maps (gnuplot makes it a twentieth as wide as they are), its numbers and its
// title.
double color_box_cm(const Figure& figure) {
  return !figure.panels.empty() && figure.panels.front().heat ? 1.8 + 0.07 * figure.width_cm : 0;
}

double top_margin_cm(const Figure& figure) { return figure.title.empty() ? 0.8 : 1.6; }

std::string legend_command(const Figure& figure, bool is_first_panel) {
  if (figure.legend == Legend::none || figure.legend == Legend::color_bar || !is_first_panel) return "unset key\n";
  const std::string title = figure.legend_title.empty() ? "" : " title " + gnuplot_quote(figure.legend_title);
  if (figure.legend == Legend::right && figure.panels.size() > 1) {
    return fmt::format("set key at screen {:.4f},{:.4f} left top Left reverse samplen 1.6{}\n",
                       1 - (legend_width_cm(figure) - 0.2) / figure.width_cm,
                       1 - top_margin_cm(figure) / figure.height_cm, title);
  }
  if (figure.legend == Legend::right)
    return fmt::format("set key outside right center Left reverse samplen 1.6 width 1{}\n", title);
  return fmt::format("set key inside {} Left reverse samplen 2.2{}\n", figure.legend_corner, title);
}

std::size_t longest_label(const Axis& axis) {
  std::size_t longest = 0;
  for (const auto& tic : axis.tics) longest = std::max(longest, display_width(tic.second));
  return longest;
}

// Many labels are printed small, and those that do not fit side by side upright. Long ones would leave the figure.
enum class Crowding { none, small, upright };
Crowding crowding_of(const Axis& axis) {
  constexpr std::size_t many = 24, fit_upright = 12;
  constexpr std::size_t fit = 60, fit_small = 90;  // Columns of text that have room, of both sizes.
  const std::size_t count = axis.tics.size();
  const std::size_t longest = longest_label(axis);
  // From `many` on a figure grows with its labels, and has room for two columns each.
  const bool is_upright = count >= many ? longest > 2 : count * longest > fit_small && longest <= fit_upright;
  if (is_upright) return Crowding::upright;
  return count >= many || count * longest > fit ? Crowding::small : Crowding::none;
}

const char* crowded_style(const Axis& axis) {
  const Crowding crowding = crowding_of(axis);
  return crowding == Crowding::upright ? " rotate by 90 right font ',6'"
         : crowding == Crowding::small ? " font ',6'"
                                       : "";
}

// Below the lowest panels, where the title of the axis makes way for upright labels.
double label_room_cm(const Figure& figure) {
  const Axis& axis = figure.panels.back().x;
  if (crowding_of(axis) != Crowding::upright) return 0;
  return std::min(0.13 * static_cast<double>(longest_label(axis)), 1.6);
}

// gnuplot formats a number with the label.
std::string tic_label(const std::string& text) {
  std::string label;
  for (const char c : text) label += c == '%' ? "%%" : std::string(1, c);
  return label;
}

std::string axis_commands(char name, const Axis& axis) {
  std::string text =
      fmt::format("set {}label {} {}\n", name, gnuplot_quote(axis.title), axis.has_markup ? "enhanced" : "noenhanced");
  text += fmt::format("{} logscale {}\n", axis.is_logarithmic ? "set" : "unset", name);
  // 10^3 reads better than 1000 on an axis of many decades.
  text += axis.is_logarithmic ? fmt::format("set format {} '10^{{%T}}'\n", name)
                              : fmt::format("set format {} '%h'\n", name);
  if (axis.tics.empty()) {
    text += axis.step > 0 ? fmt::format("set {}tics {:.9g}\n", name, axis.step)
                          : fmt::format("set {}tics autofreq\n", name);
  } else {
    // Only at these places: a logarithmic axis would add small tics between them.
    text += fmt::format("set {}tics (", name);
    for (std::size_t i = 0; i < axis.tics.size(); ++i) {
      text += fmt::format("{}{} {:.9g}", i == 0 ? "" : ", ", gnuplot_quote(tic_label(axis.tics[i].second)),
                          axis.tics[i].first);
    }
    text += fmt::format(") noenhanced{}\nunset m{}tics\n", crowded_style(axis), name);
  }
  if (axis.range) {
    text += fmt::format("set {}range [{:.9g}:{:.9g}]\n", name, axis.range->first, axis.range->second);
  } else {
    text += fmt::format("set {}range [*:*]\n", name);
  }
  return text;
}

std::string curve_command(const Figure& figure, const Curve& curve, int block, const std::string& data) {
  const std::string title =
      curve.label.empty() ? "notitle" : fmt::format("title {} noenhanced", gnuplot_quote(curve.label));
  const std::string color = color_of(figure, curve.color);
  const std::string source = fmt::format("{} index {}", data, block);
  if (!curve.top.empty()) {
    return fmt::format("{} using 1:2:3 with filledcurves fc rgb '{}' fs transparent solid {:.2f} noborder {}", source,
                       color, curve.opacity, title);
  }
  // gnuplot writes the transparency in front of the colour: 00 is opaque.
  const int transparency = static_cast<int>(std::lround(255 * (1 - std::clamp(curve.opacity, 0.0, 1.0))));
  // Colours that come round again are told apart by dots.
  const bool is_repeated =
      figure.coloring == Coloring::categories && curve.color >= static_cast<int>(kCategories.size());
  const std::string style = fmt::format(
      "lc rgb '#{:02x}{}' lw {:.2f}{}", transparency, color.substr(1), curve.width,
      is_repeated ? (curve.is_dashed ? " dt (16,6,3,6)" : " dt (4,5)") : (curve.is_dashed ? " dt (16,9)" : ""));
  return fmt::format("{} using 1:2 with {} {} {}", source, curve.has_points ? "linespoints pt 7 ps 0.45" : "lines",
                     style, title);
}

std::string panel_commands(const Figure& figure, std::size_t index, int first_block, const std::string& data,
                           bool is_svg) {
  const Panel& panel = figure.panels[index];
  std::string text = "\n" + legend_command(figure, index == 0);
  if (!panel.title.empty()) text += fmt::format("set title {} noenhanced offset 0,-0.5\n", gnuplot_quote(panel.title));
  // Between panels the titles of the axes would only repeat themselves.
  const auto columns = static_cast<std::size_t>(std::max(figure.columns, 1));
  Axis x = panel.x, y = panel.y;
  if (index + columns < figure.panels.size()) x.title.clear();
  if (index % columns != 0) y.title.clear();
  text += axis_commands('x', x) + axis_commands('y', y);
  // Maps side by side have one scale, and between them is no room for its numbers.
  const bool is_last_of_row = (index + 1) % columns == 0 || index + 1 == figure.panels.size();
  if (panel.heat) return text + heat_commands(*panel.heat, first_block, data, is_svg, is_last_of_row);
  text += "plot \\\n";
  if (figure.legend == Legend::color_bar) {
    // Draws nothing but makes gnuplot show the bar.
    text += fmt::format("  {} index {} using 1:(NaN):(0) with lines lc palette notitle, \\\n", data, first_block);
  }
  for (std::size_t i = 0; i < panel.curves.size(); ++i) {
    text += "  " + curve_command(figure, panel.curves[i], first_block + static_cast<int>(i), data);
    text += i + 1 < panel.curves.size() ? ", \\\n" : "\n";
  }
  return text;
}

// The caption in lines that fit the width of the figure; about seven letters of its size fill a centimetre.
std::vector<std::string> caption_lines(const Figure& figure) {
  const std::size_t longest = static_cast<std::size_t>(figure.width_cm * 6.8);
  std::vector<std::string> lines;
  std::istringstream words(figure.caption);
  for (std::string word; words >> word;) {
    if (lines.empty() || lines.back().size() + 1 + word.size() > longest) {
      lines.push_back(word);
    } else {
      lines.back() += " " + word;
    }
  }
  return lines;
}

// Room around and between the panels, in centimetres turned into shares of the figure.
std::string layout_commands(const Figure& figure, int rows, int columns, std::size_t lines) {
  const double below = label_room_cm(figure);
  // gnuplot counts margins in letters, about 0.4 cm high.
  if (figure.panels.size() == 1)
    return lines == 0 ? "" : fmt::format("set bmargin {:.1f}\n", 3.4 + 0.95 * static_cast<double>(lines) + below / 0.4);
  const double bottom = 1.3 + below + kCaptionLineCm * static_cast<double>(lines), top = top_margin_cm(figure);
  return fmt::format(
      "set multiplot layout {},{} margins screen {:.4f},{:.4f},{:.4f},{:.4f} spacing screen {:.4f},{:.4f}", rows,
      columns, 1.7 / figure.width_cm, 1 - (0.5 + legend_width_cm(figure) + color_box_cm(figure)) / figure.width_cm,
      bottom / figure.height_cm, 1 - top / figure.height_cm, 1.2 / figure.width_cm, 1.4 / figure.height_cm);
}

}  // namespace

double nice_step(double width, int tics) {
  const double step = width / tics;
  const double power = std::pow(10, std::floor(std::log10(step)));
  const double digit = step / power;
  return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

void share_decades(Figure& figure) {
  double lowest = HUGE_VAL, highest = -HUGE_VAL;
  for (const Panel& panel : figure.panels) {
    const Curve& outer = panel.curves.front();
    for (const double y : outer.y) lowest = std::min(lowest, y);
    for (const double y : outer.top) highest = std::max(highest, y);
  }
  if (!(lowest > 0) || !std::isfinite(highest)) return;
  const std::pair range{std::pow(10, std::floor(std::log10(lowest))),
                        std::pow(10, std::ceil(std::log10(highest) + 1e-9))};
  for (Panel& panel : figure.panels) panel.y.range = range;
}

std::string color_of(const Figure& figure, int index) {
  if (figure.coloring == Coloring::categories) return kCategories[static_cast<std::size_t>(index) % kCategories.size()];
  return scale_color(figure.colors > 1 ? static_cast<double>(index) / (figure.colors - 1) : 0.0);
}

std::string gnuplot_script(const Figure& figure, const std::string& output_name, const std::string& data_name) {
  // "./" keeps gnuplot from taking a name that begins with '<' or '|' for a command.
  const std::string data = gnuplot_quote("./" + data_name);
  std::string text = "# Draws this figure again: run gnuplot on this file in its folder.\n";
  text +=
      fmt::format("set terminal {}\nset output {}\n", terminal(figure, output_name), gnuplot_quote("./" + output_name));
  text +=
      "set encoding utf8\n"
      "set border 3 lw 0.8\nset tics nomirror out scale 0.6\nset grid lc rgb '#e4e4e4' lw 0.5 lt 1\n";
  if (figure.legend == Legend::color_bar) {
    text += fmt::format(
        "set palette defined ({})\nset cbrange [0:{}]\nset cblabel {}\nset colorbox\nset cbtics scale 0.4\n",
        scale_stops(), std::max(figure.colors - 1, 1), gnuplot_quote(figure.legend_title));
  }
  const int columns = std::max(figure.columns, 1);
  const int rows = (static_cast<int>(figure.panels.size()) + columns - 1) / columns;
  const std::vector<std::string> caption = caption_lines(figure);
  for (std::size_t i = 0; i < caption.size(); ++i) {
    const double height = (0.2 + kCaptionLineCm * static_cast<double>(caption.size() - 1 - i)) / figure.height_cm;
    text += fmt::format("set label {} {} at screen 0.015,{:.4f} left noenhanced font ',{}' tc rgb '#505050'\n",
                        1000 + i, gnuplot_quote(caption[i]), height, extension_of(output_name) == ".svg" ? 10 : 7);
  }
  text += layout_commands(figure, rows, columns, caption.size());
  const bool is_multiplot = figure.panels.size() > 1;
  if (!figure.title.empty()) {
    text += fmt::format("{} {} noenhanced{}", is_multiplot ? " title" : "set title", gnuplot_quote(figure.title),
                        is_multiplot ? "" : "\n");
  }
  if (is_multiplot) text += "\n";
  int block = 0;
  for (std::size_t i = 0; i < figure.panels.size(); ++i) {
    text += panel_commands(figure, i, block, data, extension_of(output_name) == ".svg");
    block += figure.panels[i].heat ? 1 : static_cast<int>(figure.panels[i].curves.size());
  }
  if (is_multiplot) text += "unset multiplot\n";
  return text + "unset output\n";
}

std::string gnuplot_data(const Figure& figure) {
  std::string text;
  for (const Panel& panel : figure.panels) {
    if (panel.heat) {
      text += fmt::format("{}# {}\n", text.empty() ? "" : "\n\n", gnuplot_quote(panel.title));
      text += matrix_text(panel.heat->rows);
      continue;
    }
    for (const Curve& curve : panel.curves) {
      check_invariant(curve.x.size() == curve.y.size() && (curve.top.empty() || curve.top.size() == curve.x.size()),
                      "a curve has columns of different lengths");
      // Quoting also keeps a label with line breaks on its comment line.
      if (!text.empty()) text += "\n\n";
      text += fmt::format("# {} {}\n", gnuplot_quote(panel.title), gnuplot_quote(curve.label));
      // An index without points would shift the numbers of the blocks after it.
      if (curve.x.empty()) text += curve.top.empty() ? "NaN NaN\n" : "NaN NaN NaN\n";
      for (std::size_t i = 0; i < curve.x.size(); ++i) {
        text += data_number(curve.x[i]) + " " + data_number(curve.y[i]);
        if (!curve.top.empty()) text += " " + data_number(curve.top[i]);
        text += "\n";
      }
    }
  }
  return text;
}

FigureFiles draw_figure(const Figure& figure, const std::filesystem::path& output) {
  const std::string extension = extension_of(output.filename().string());
  if (extension != ".svg" && extension != ".pdf" && extension != ".png") {
    throw ConfigError(fmt::format(
        "'{}' is no figure that can be drawn: expected a name that ends in .svg, .pdf or .png.", output.string()));
  }
  check_invariant(
      !figure.panels.empty() && std::none_of(figure.panels.begin(), figure.panels.end(),
                                             [](const Panel& panel) { return panel.curves.empty() && !panel.heat; }),
      "a figure has nothing to draw");
  std::error_code ignored;
  if (const auto folder = output.parent_path(); !folder.empty() && !std::filesystem::is_directory(folder, ignored)) {
    throw FileError(
        fmt::format("there is no folder '{}' for the figure '{}': make it, or choose another place with -o.",
                    folder.string(), output.filename().string()));
  }
  FigureFiles files{output, output, output};
  files.script.replace_extension(".gp");
  files.data.replace_extension(".dat");
  write_atomically(files.data, gnuplot_data(figure));
  write_atomically(files.script, gnuplot_script(figure, output.filename().string(), files.data.filename().string()));
  run_gnuplot(files.script);
  return files;
}

}  // namespace rwkvlab
