// Pictures between their file and a batch.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace rwkvlab {

/// A picture of bytes, channel by channel: values[(channel * height + row) * width + column].
struct BytePicture {
  std::int64_t channels = 0, height = 0, width = 0;
  std::vector<std::uint8_t> values;
};

/// What augmentations work on: the same order of values, as floats in [0, 1].
struct Picture {
  std::int64_t channels = 0, height = 0, width = 0;
  std::vector<float> values;
  std::vector<std::int32_t> classes;  ///< of dense data, the class of each pixel [height, width]; otherwise empty

  std::int64_t pixels() const { return height * width; }
  bool is_dense() const { return !classes.empty(); }
  /// [height, width] of one channel.
  std::span<float> plane(std::int64_t channel) {
    return std::span<float>(values).subspan(static_cast<std::size_t>(channel * pixels()),
                                            static_cast<std::size_t>(pixels()));
  }
  std::span<const float> plane(std::int64_t channel) const {
    return std::span<const float>(values).subspan(static_cast<std::size_t>(channel * pixels()),
                                                  static_cast<std::size_t>(pixels()));
  }
};

/// A picture and its label (0 of dense data, whose labels are the classes of the pixels).
struct Example {
  Picture picture;
  std::int64_t label = 0;
};

Picture to_floats(std::span<const std::uint8_t> values, std::int64_t channels, std::int64_t height, std::int64_t width);
inline Picture to_floats(const BytePicture& bytes) {
  return to_floats(bytes.values, bytes.channels, bytes.height, bytes.width);
}
/// Rounded to bytes, cut to [0, 255].
BytePicture to_bytes(const Picture& picture);

/// 1 to 3 channels by repetition; 3 to 1 by the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B.
void convert_channels(Picture& picture, std::int64_t channels);
/// The grey version of a picture [height * width]; of one channel: itself.
std::vector<float> luma(const Picture& picture);

/// The rectangle from (top, left) on, which may reach beyond the picture: `fill` is there, and no_target as class.
Picture cropped(const Picture& picture, std::int64_t top, std::int64_t left, std::int64_t height, std::int64_t width,
                float fill = 0);
void flip_horizontally(Picture& picture);

}  // namespace rwkvlab
