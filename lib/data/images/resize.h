// Pictures brought to another size.
#pragma once

#include <string_view>

#include "data/images/picture.h"

namespace rwkvlab {

enum class Interpolation {
  bilinear,  ///< a triangle over two pixels
  bicubic,   ///< the cubic of Keys with a = -1/2 (doi:10.1109/TASSP.1981.1163711)
};

/// The word of YAML. BugError for another one.
Interpolation interpolation_named(std::string_view name);

/// The picture in `height` x `width` pixels. Pixel d of the result is centred at (d + 1/2) in / out of the input; where
/// the picture shrinks, the kernel is stretched by in / out, so that every pixel of the input counts (antialiasing).
/// Values stay in [0, 1]. Classes of pixels are those of the nearest pixel.
Picture resized(const Picture& picture, std::int64_t height, std::int64_t width, Interpolation interpolation);

/// The size of `picture` scaled so that it covers `height` x `width` with one side equal.
std::pair<std::int64_t, std::int64_t> covering_size(const Picture& picture, std::int64_t height, std::int64_t width);

/// For evaluation: scaled (aspect kept) to cover the size divided by `share`, and the centre cut out. A picture that
/// has the size already stays as it is when `share` is 1.
Picture fitted(const Picture& picture, std::int64_t height, std::int64_t width, double share,
               Interpolation interpolation);

}  // namespace rwkvlab
