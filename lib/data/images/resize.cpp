#include "data/images/resize.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace rwkvlab {
namespace {

double kernel_value(Interpolation interpolation, double x) {
  x = std::abs(x);
  if (interpolation == Interpolation::bilinear) return std::max(0.0, 1.0 - x);
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0.0;
}

// One pixel of the result along one side: the weights of the pixels from `first` on, which add up to 1.
struct Taps {
  std::int64_t first = 0;
  std::vector<float> weights;
};

std::vector<Taps> taps_of(std::int64_t from, std::int64_t to, Interpolation interpolation) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);
  const double reach = stretch * (interpolation == Interpolation::bilinear ? 1 : 2);
  std::vector<Taps> all(static_cast<std::size_t>(to));
  for (std::int64_t d = 0; d < to; ++d) {
    const double centre = (static_cast<double>(d) + 0.5) * scale;
    Taps& taps = all[static_cast<std::size_t>(d)];
    taps.first = std::max<std::int64_t>(0, std::llround(centre - reach));
    const std::int64_t last = std::max(taps.first + 1, std::min<std::int64_t>(from, std::llround(centre + reach)));
    std::vector<double> weights;
    double sum = 0;
    for (std::int64_t i = taps.first; i < last; ++i) {
      weights.push_back(kernel_value(interpolation, (static_cast<double>(i) + 0.5 - centre) / stretch));
      sum += weights.back();
    }
    for (const double weight : weights) taps.weights.push_back(static_cast<float>(weight / sum));
  }
  return all;
}

// Along the rows of a plane, whose pixels of one row are `step` apart.
void resize_lines(const float* from, std::int64_t from_line, float* to, std::int64_t to_line, std::int64_t lines,
                  std::int64_t step, const std::vector<Taps>& taps) {
  for (std::int64_t line = 0; line < lines; ++line) {
    const float* const source = from + line * from_line;
    float* const target = to + line * to_line;
    for (std::size_t d = 0; d < taps.size(); ++d) {
      float sum = 0;
      const float* pixel = source + taps[d].first * step;
      for (const float weight : taps[d].weights) {
        sum += weight * *pixel;
        pixel += step;
      }
      target[static_cast<std::int64_t>(d) * step] = sum;
    }
  }
}

}  // namespace

Interpolation interpolation_named(std::string_view name) {
  if (name == "bilinear") return Interpolation::bilinear;
  check_invariant(name == "bicubic", "an unknown interpolation");
  return Interpolation::bicubic;
}

Picture resized(const Picture& picture, std::int64_t height, std::int64_t width, Interpolation interpolation) {
  if (picture.height == height && picture.width == width) return picture;
  check_invariant(height > 0 && width > 0 && picture.pixels() > 0, "a picture without pixels is resized");
  Picture result{picture.channels, height, width, {}, {}};
  result.values.resize(static_cast<std::size_t>(picture.channels * height * width));
  const std::vector<Taps> across = taps_of(picture.width, width, interpolation),
                          down = taps_of(picture.height, height, interpolation);
  std::vector<float> wide(static_cast<std::size_t>(picture.height * width));
  for (std::int64_t channel = 0; channel < picture.channels; ++channel) {
    resize_lines(picture.plane(channel).data(), picture.width, wide.data(), width, picture.height, 1, across);
    resize_lines(wide.data(), 1, result.plane(channel).data(), 1, width, width, down);
  }
  for (float& value : result.values) value = std::clamp(value, 0.0F, 1.0F);
  if (!picture.is_dense()) return result;
  result.classes.reserve(static_cast<std::size_t>(height * width));
  for (std::int64_t y = 0; y < height; ++y) {
    const std::int64_t row = (2 * y + 1) * picture.height / (2 * height);
    for (std::int64_t x = 0; x < width; ++x) {
      const std::int64_t column = (2 * x + 1) * picture.width / (2 * width);
      result.classes.push_back(picture.classes[static_cast<std::size_t>(row * picture.width + column)]);
    }
  }
  return result;
}

std::pair<std::int64_t, std::int64_t> covering_size(const Picture& picture, std::int64_t height, std::int64_t width) {
  const double scale = std::max(static_cast<double>(height) / static_cast<double>(picture.height),
                                static_cast<double>(width) / static_cast<double>(picture.width));
  return {std::max<std::int64_t>(height, std::llround(static_cast<double>(picture.height) * scale)),
          std::max<std::int64_t>(width, std::llround(static_cast<double>(picture.width) * scale))};
}

Picture fitted(const Picture& picture, std::int64_t height, std::int64_t width, double share,
               Interpolation interpolation) {
  if (share == 1 && picture.height == height && picture.width == width) return picture;
  const auto enlarged = [share](std::int64_t side) {
    return std::max<std::int64_t>(side, std::llround(static_cast<double>(side) / share));
  };
  const auto [tall, wide] = covering_size(picture, enlarged(height), enlarged(width));
  return cropped(resized(picture, tall, wide, interpolation), (tall - height) / 2, (wide - width) / 2, height, width);
}

}  // namespace rwkvlab
