// Shapes and textures of generated pictures, in integers.
#pragma once

#include <array>
#include <cstdint>

#include "data/images/picture.h"
#include "data/tasks/draws.h"

namespace rwkvlab {

inline constexpr std::array<const char*, 8> shape_names = {"disc", "square", "triangle",  "cross",
                                                           "ring", "bar",    "half disc", "crescent"};
inline constexpr std::array<const char*, 5> texture_names = {"plain", "stripes", "thin stripes", "checks", "dots"};

/// Where a shape lies. Lengths are in 1/16 pixels; (c, s) / hypotenuse is a rotation by a rational angle.
struct PlacedShape {
  std::int64_t kind = 0;
  std::int64_t x = 0, y = 0, radius = 0;
  std::int64_t c = 1, s = 0, hypotenuse = 1;

  /// Whether the centre of a pixel lies inside.
  bool covers(std::int64_t row, std::int64_t column) const;
};

/// Any place and angle at which the circle around the shape is within the picture, as far as that is possible. `radius`
/// is drawn from [smallest, largest] pixels.
PlacedShape draw_place(std::int64_t kind, std::int64_t height, std::int64_t width, std::int64_t smallest,
                       std::int64_t largest, Draws& draws);

/// Two colours in a pattern.
struct Surface {
  std::int64_t texture = 0, period = 4;  ///< period in pixels
  std::array<std::uint8_t, 3> colours[2] = {};

  const std::array<std::uint8_t, 3>& at(std::int64_t row, std::int64_t column) const;
};

/// Any colours and period; the second colour differs clearly from the first.
Surface draw_surface(std::int64_t texture, Draws& draws);

/// Paints the pixels for which `covers(row, column)` holds; grey pictures get the mean of the three colours.
template <class Covers>
void paint(BytePicture& picture, const Surface& surface, Covers covers) {
  for (std::int64_t row = 0; row < picture.height; ++row) {
    for (std::int64_t column = 0; column < picture.width; ++column) {
      if (!covers(row, column)) continue;
      const std::array<std::uint8_t, 3>& colour = surface.at(row, column);
      for (std::int64_t channel = 0; channel < picture.channels; ++channel) {
        picture.values[static_cast<std::size_t>((channel * picture.height + row) * picture.width + column)] =
            picture.channels == 3 ? colour[static_cast<std::size_t>(channel)]
                                  : static_cast<std::uint8_t>((colour[0] + colour[1] + colour[2]) / 3);
      }
    }
  }
}

}  // namespace rwkvlab
