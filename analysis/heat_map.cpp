#include "analysis/heat_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "analysis/gnuplot.h"

namespace rwkvlab {
namespace {

struct Rgb {
  int red, green, blue;
};
// Stops of viridis (van der Walt and Smith, 2015) at equal distances, without its lightest tenth, which does not show
// on white.
constexpr std::array<Rgb, 8> kViridis{{{68, 1, 84},
                                       {70, 48, 126},
                                       {54, 92, 141},
                                       {39, 127, 142},
                                       {31, 161, 135},
                                       {74, 193, 109},
                                       {132, 212, 75},
                                       {187, 223, 39}}};

std::string hex(const Rgb& color) { return fmt::format("#{:02x}{:02x}{:02x}", color.red, color.green, color.blue); }

// Powers of ten, with 2 and 5 times them where the range is short.
std::string decade_tics(double low, double high) {
  std::string tics;
  const bool is_short = high / low < 300;
  for (double power = std::pow(10, std::floor(std::log10(low))); power <= high; power *= 10) {
    for (const int digit : {1, 2, 5}) {
      const double value = digit * power;
      if ((digit > 1 && !is_short) || value < low || value > high) continue;
      tics += fmt::format("{}{:.9g}", tics.empty() ? "(" : ", ", value);
    }
  }
  return tics.empty() ? "autofreq" : tics + ")";
}

}  // namespace

std::string scale_stops() {
  std::string stops;
  for (std::size_t i = 0; i < kViridis.size(); ++i)
    stops += fmt::format("{}{} '{}'", i == 0 ? "" : ", ", i, hex(kViridis[i]));
  return stops;
}

std::string scale_color(double position) {
  const double scaled = std::clamp(position, 0.0, 1.0) * static_cast<double>(kViridis.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(scaled), kViridis.size() - 2);
  const double fraction = scaled - static_cast<double>(below);
  const auto mix = [&](int a, int b) { return static_cast<int>(std::lround(a + fraction * (b - a))); };
  const Rgb &a = kViridis[below], &b = kViridis[below + 1];
  return hex({mix(a.red, b.red), mix(a.green, b.green), mix(a.blue, b.blue)});
}

// A degenerate range has no colours.
std::string heat_commands(const HeatMap& heat, int block, const std::string& data, bool is_svg, bool has_bar) {
  auto [low, high] = heat.range;
  if (!(high > low)) {
    low -= 0.5 * std::abs(low) + (low == 0 ? 1 : 0);
    high = heat.range.first + (heat.range.first - low);
  }
  const std::string tics =
      heat.is_logarithmic ? decade_tics(low, high) : fmt::format("{:.9g}", nice_step(high - low, 4));
  // Rectangles in SVG, because an image would be a file of its own; elsewhere they would show seams.
  return fmt::format(
      "set palette defined ({})\n{} logscale cb\nset cbrange [{:.9g}:{:.9g}]\nset cblabel {}\n{} colorbox\nset cbtics "
      "{} scale 0.4\nunset grid\nplot {} index {} matrix with image{} notitle\n",
      scale_stops(), heat.is_logarithmic ? "set" : "unset", low, high, gnuplot_quote(heat.title),
      has_bar ? "set" : "unset", tics, data, block, is_svg ? " pixels" : "");
}

std::string data_number(double value) { return std::isfinite(value) ? fmt::format("{:.9g}", value) : "NaN"; }

// gnuplot draws nothing of a map that is one cell wide or high, so that cell comes twice; the axis shows it once.
std::string matrix_text(const std::vector<std::vector<double>>& rows) {
  std::string text;
  for (std::size_t copy = 0; copy < (rows.size() == 1 ? 2 : 1); ++copy) {
    for (const std::vector<double>& row : rows) {
      for (const double value : row) text += data_number(value) + " ";
      text += row.size() == 1 ? data_number(row.front()) + "\n" : "\n";
    }
  }
  return text;
}

}  // namespace rwkvlab
