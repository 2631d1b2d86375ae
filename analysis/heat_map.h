// What figures share that show numbers as colours: the scale of colours, and the gnuplot commands of heat maps.
#pragma once

#include <string>
#include <vector>

#include "analysis/figure.h"

namespace rwkvlab {

/// The scale as gnuplot's palette: "0 '#440154', 1 '#46307e', ...".
std::string scale_stops();
/// "#rrggbb" at `position` in [0, 1] of the scale, from dark to light.
std::string scale_color(double position);

/// Commands that draw the map of block `block` of the quoted data file `data`, with a bar of colours beside it or not.
std::string heat_commands(const HeatMap& heat, int block, const std::string& data, bool is_svg, bool has_bar);
/// The values as gnuplot reads a matrix.
std::string matrix_text(const std::vector<std::vector<double>>& rows);

/// A number of a data file; what is not finite leaves a gap.
std::string data_number(double value);

}  // namespace rwkvlab
