#include "data/images/picture.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/data_set.h"

namespace rwkvlab {
namespace {

// The rows of a crop, of any kind of values.
template <class T>
void crop_plane(const T* from, std::int64_t from_height, std::int64_t from_width, std::int64_t top, std::int64_t left,
                T* to, std::int64_t height, std::int64_t width, T fill) {
  std::fill(to, to + height * width, fill);
  const std::int64_t first = std::max<std::int64_t>(0, -left), last = std::min(width, from_width - left);
  if (first >= last) return;
  for (std::int64_t row = std::max<std::int64_t>(0, -top); row < std::min(height, from_height - top); ++row) {
    const T* const source = from + (row + top) * from_width + left;
    std::copy(source + first, source + last, to + row * width + first);
  }
}

}  // namespace

Picture to_floats(std::span<const std::uint8_t> values, std::int64_t channels, std::int64_t height,
                  std::int64_t width) {
  check_invariant(static_cast<std::int64_t>(values.size()) == channels * height * width,
                  "a picture with another number of values than its size says");
  Picture picture{channels, height, width, std::vector<float>(values.size()), {}};
  std::transform(values.begin(), values.end(), picture.values.begin(),
                 [](std::uint8_t value) { return static_cast<float>(value) / 255.0F; });
  return picture;
}

BytePicture to_bytes(const Picture& picture) {
  BytePicture bytes{picture.channels, picture.height, picture.width, std::vector<std::uint8_t>(picture.values.size())};
  std::transform(picture.values.begin(), picture.values.end(), bytes.values.begin(), [](float value) {
    return static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0F, 1.0F) * 255.0F));
  });
  return bytes;
}

std::vector<float> luma(const Picture& picture) {
  const auto pixels = static_cast<std::size_t>(picture.pixels());
  if (picture.channels != 3)
    return {picture.values.begin(), picture.values.begin() + static_cast<std::ptrdiff_t>(pixels)};
  std::vector<float> grey(pixels);
  const float* const values = picture.values.data();
  for (std::size_t i = 0; i < pixels; ++i) {
    grey[i] = 0.299F * values[i] + 0.587F * values[pixels + i] + 0.114F * values[2 * pixels + i];
  }
  return grey;
}

void convert_channels(Picture& picture, std::int64_t channels) {
  if (picture.channels == channels) return;
  check_invariant((picture.channels == 1 && channels == 3) || (picture.channels == 3 && channels == 1),
                  "a picture of neither one nor three channels");
  picture.values = luma(picture);
  picture.channels = channels;
  const auto pixels = static_cast<std::ptrdiff_t>(picture.pixels());
  if (channels == 1) return;
  picture.values.resize(static_cast<std::size_t>(3 * pixels));
  for (int channel = 1; channel < 3; ++channel) {
    std::copy_n(picture.values.begin(), pixels, picture.values.begin() + channel * pixels);
  }
}

Picture cropped(const Picture& picture, std::int64_t top, std::int64_t left, std::int64_t height, std::int64_t width,
                float fill) {
  Picture result{picture.channels, height, width, {}, {}};
  result.values.resize(static_cast<std::size_t>(picture.channels * height * width));
  for (std::int64_t channel = 0; channel < picture.channels; ++channel) {
    crop_plane(picture.plane(channel).data(), picture.height, picture.width, top, left, result.plane(channel).data(),
               height, width, fill);
  }
  if (picture.is_dense()) {
    result.classes.resize(static_cast<std::size_t>(height * width));
    crop_plane(picture.classes.data(), picture.height, picture.width, top, left, result.classes.data(), height, width,
               static_cast<std::int32_t>(no_target));
  }
  return result;
}

void flip_horizontally(Picture& picture) {
  const std::int64_t width = picture.width;
  for (std::int64_t row = 0; row < picture.channels * picture.height; ++row) {
    std::reverse(picture.values.begin() + row * width, picture.values.begin() + (row + 1) * width);
  }
  if (!picture.is_dense()) return;
  for (std::int64_t row = 0; row < picture.height; ++row) {
    std::reverse(picture.classes.begin() + row * width, picture.classes.begin() + (row + 1) * width);
  }
}

}  // namespace rwkvlab
