// Brightness, contrast, saturation, sharpness, and pictures under an affine map.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/images/augmentation.h"

namespace rwkvlab {

void blend(Picture& picture, const std::vector<float>& other, double factor) {
  const auto share = static_cast<float>(factor);
  for (std::size_t i = 0; i < picture.values.size(); ++i) {
    // `other` may have one plane for all channels, or one value for all pixels.
    const float base = other[i % other.size()];
    picture.values[i] = std::clamp(base + share * (picture.values[i] - base), 0.0F, 1.0F);
  }
}

void change_brightness(Picture& picture, double factor) { blend(picture, {0.0F}, factor); }

void change_contrast(Picture& picture, double factor) {
  const std::vector<float> grey = luma(picture);
  const double mean = std::accumulate(grey.begin(), grey.end(), 0.0) / static_cast<double>(grey.size());
  blend(picture, {static_cast<float>(mean)}, factor);
}

void change_saturation(Picture& picture, double factor) { blend(picture, luma(picture), factor); }

void change_sharpness(Picture& picture, double factor) {
  // The kernel (1 1 1; 1 5 1; 1 1 1) / 13; the border stays as it is.
  std::vector<float> smooth = picture.values;
  const std::int64_t height = picture.height, width = picture.width;
  for (std::int64_t channel = 0; channel < picture.channels; ++channel) {
    const float* const from = picture.plane(channel).data();
    float* const to = smooth.data() + channel * picture.pixels();
    for (std::int64_t y = 1; y + 1 < height; ++y) {
      for (std::int64_t x = 1; x + 1 < width; ++x) {
        const float* const p = from + y * width + x;
        const float around =
            p[-width - 1] + p[-width] + p[-width + 1] + p[-1] + p[1] + p[width - 1] + p[width] + p[width + 1];
        to[y * width + x] = (around + 5 * p[0]) / 13;
      }
    }
  }
  blend(picture, smooth, factor);
}

Picture warped(const Picture& picture, const double (&m)[6], const std::vector<double>& fill) {
  Picture result = picture;
  const std::int64_t height = picture.height, width = picture.width;
  const double middle_y = static_cast<double>(height - 1) / 2, middle_x = static_cast<double>(width - 1) / 2;
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      const double dx = static_cast<double>(x) - middle_x, dy = static_cast<double>(y) - middle_y;
      const double from_x = m[0] * dx + m[1] * dy + m[2] + middle_x, from_y = m[3] * dx + m[4] * dy + m[5] + middle_y;
      const auto left = static_cast<std::int64_t>(std::floor(from_x)),
                 top = static_cast<std::int64_t>(std::floor(from_y));
      const auto right_share = static_cast<float>(from_x - std::floor(from_x)),
                 low_share = static_cast<float>(from_y - std::floor(from_y));
      for (std::int64_t channel = 0; channel < picture.channels; ++channel) {
        const std::span<const float> plane = picture.plane(channel);
        const auto outside = static_cast<float>(fill[static_cast<std::size_t>(channel)]);
        const auto at = [&](std::int64_t row, std::int64_t column) {
          const bool is_inside = row >= 0 && row < height && column >= 0 && column < width;
          return is_inside ? plane[static_cast<std::size_t>(row * width + column)] : outside;
        };
        const float upper = at(top, left) * (1 - right_share) + at(top, left + 1) * right_share,
                    lower = at(top + 1, left) * (1 - right_share) + at(top + 1, left + 1) * right_share;
        result.plane(channel)[static_cast<std::size_t>(y * width + x)] = upper * (1 - low_share) + lower * low_share;
      }
    }
  }
  return result;
}

}  // namespace rwkvlab
