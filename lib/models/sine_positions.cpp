#include "models/sine_positions.h"

#include <algorithm>
#include <cmath>

namespace rwkvlab {
namespace {

// Channel `channel` of one half, of the token at `at` along its side.
double half_position(std::int64_t at, std::int64_t channel, std::int64_t quarter) {
  const double rate = std::pow(10000.0, -static_cast<double>(channel % quarter) / static_cast<double>(quarter));
  const double angle = static_cast<double>(at) * rate;
  return channel < quarter ? std::sin(angle) : std::cos(angle);
}

}  // namespace

double sine_position(const GridSize& grid, std::int64_t width, std::int64_t index) {
  const std::int64_t quarter = width / 4, token = index / width, channel = index % width;
  if (channel >= 4 * quarter) return 0;
  const bool is_row = channel >= 2 * quarter;
  return half_position(is_row ? token / grid.columns : token % grid.columns, channel % (2 * quarter), quarter);
}

Tensor sine_positions(const GridSize& grid, std::int64_t width, DType type) {
  const Tensor table = Tensor::zeros({grid.tokens(), width}, type);
  if (ShapeOnly::active()) return table;
  const std::int64_t half = width / 4 * 2;
  for_real(type, [&]<class Real>(Real) {
    // A column has the same values in every row, and a row in every column: large grids cost copies alone.
    Real* const values = table.data<Real>();
    for (std::int64_t token = 0; token < grid.tokens(); ++token) {
      Real* const to = values + token * width;
      for (const bool is_row : {false, true}) {
        const std::int64_t begin = is_row ? half : 0;
        const std::int64_t same = is_row ? token / grid.columns * grid.columns : token % grid.columns;
        if (same < token) {
          std::copy_n(values + same * width + begin, half, to + begin);
          continue;
        }
        for (std::int64_t c = begin; c < begin + half; ++c)
          to[c] = static_cast<Real>(sine_position(grid, width, token * width + c));
      }
    }
  });
  return table;
}

}  // namespace rwkvlab
