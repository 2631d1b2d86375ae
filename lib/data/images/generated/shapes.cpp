#include "data/images/generated/shapes.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"

namespace rwkvlab {
namespace {

// Sides of right-angled triangles: rotations that integers can express.
struct Angle {
  std::int64_t c, s, hypotenuse;
};
constexpr Angle angles[] = {{1, 0, 1},   {4, 3, 5},   {3, 4, 5},    {12, 5, 13}, {5, 12, 13},
                            {15, 8, 17}, {8, 15, 17}, {21, 20, 29}, {20, 21, 29}};

bool is_inside(std::int64_t kind, std::int64_t x, std::int64_t y, std::int64_t r) {
  const std::int64_t square = x * x + y * y, ax = std::abs(x), ay = std::abs(y);
  switch (kind) {
    case 0:
      return square <= r * r;
    case 1:
      return std::max(ax, ay) * 5 <= r * 4;
    case 2:  // Of equal sides: from the tip at -r down to r / 2; tan 30 degrees = 0.577.
      return y * 2 <= r && ax * 1000 <= (y + r) * 577;
    case 3:
      return (ax * 3 <= r && ay <= r) || (ay * 3 <= r && ax <= r);
    case 4:
      return square <= r * r && square * 4 >= r * r;
    case 5:
      return ax <= r && ay * 3 <= r;
    case 6:
      return square <= r * r && y >= 0;
    default: {  // A disc without a smaller one that is moved by half a radius.
      const std::int64_t dx = 2 * x - r;
      return square <= r * r && dx * dx + 4 * y * y >= 3 * r * r;
    }
  }
}

}  // namespace

bool PlacedShape::covers(std::int64_t row, std::int64_t column) const {
  const std::int64_t dx = 16 * column + 8 - x, dy = 16 * row + 8 - y;
  if (std::max(std::abs(dx), std::abs(dy)) > radius) return false;
  return is_inside(kind, (dx * c + dy * s) / hypotenuse, (dy * c - dx * s) / hypotenuse, radius);
}

PlacedShape draw_place(std::int64_t kind, std::int64_t height, std::int64_t width, std::int64_t smallest,
                       std::int64_t largest, Draws& draws) {
  PlacedShape shape;
  shape.kind = kind;
  shape.radius = draws.between(16 * smallest, 16 * largest);
  const auto centre = [&](std::int64_t length) {
    const std::int64_t room = 16 * length - 2 * shape.radius;
    return room > 0 ? shape.radius + draws.below(room + 1) : 8 * length;
  };
  shape.y = centre(height);
  shape.x = centre(width);
  const Angle& angle = angles[static_cast<std::size_t>(draws.below(std::size(angles)))];
  shape.hypotenuse = angle.hypotenuse;
  // A quarter turn more or less, so that all directions come up.
  const std::int64_t quarters = draws.below(4);
  const std::int64_t c[] = {angle.c, -angle.s, -angle.c, angle.s}, s[] = {angle.s, angle.c, -angle.s, -angle.c};
  shape.c = c[quarters];
  shape.s = s[quarters];
  return shape;
}

const std::array<std::uint8_t, 3>& Surface::at(std::int64_t row, std::int64_t column) const {
  const std::int64_t half = std::max<std::int64_t>(1, period / 2);
  bool is_second = false;
  switch (texture) {
    case 0:
      break;
    case 1:
      is_second = (row + column) % period < half;
      break;
    case 2:
      is_second = (row + 2 * column) % period == 0;
      break;
    case 3:
      is_second = (row / half + column / half) % 2 == 0;
      break;
    default: {
      const std::int64_t dy = 2 * (row % period) - period + 1, dx = 2 * (column % period) - period + 1;
      is_second = 4 * (dx * dx + dy * dy) <= period * period;
    }
  }
  return colours[is_second ? 1 : 0];
}

Surface draw_surface(std::int64_t texture, Draws& draws) {
  check_invariant(texture >= 0 && texture < std::int64_t{texture_names.size()}, "an unknown texture");
  Surface surface;
  surface.texture = texture;
  surface.period = draws.between(4, 7);
  for (std::size_t channel = 0; channel < 3; ++channel) {
    const std::int64_t first = draws.below(256);
    surface.colours[0][channel] = static_cast<std::uint8_t>(first);
    // At least 64 levels away in every channel.
    surface.colours[1][channel] = static_cast<std::uint8_t>((first + draws.between(64, 192)) % 256);
  }
  return surface;
}

}  // namespace rwkvlab
