// What a model needs to know of the data that it is built for.
#pragma once

#include <cstdint>

namespace rwkvlab {

/// Sizes of the data; 0: unknown, or not of this sort of data.
struct ModelSite {
  std::int64_t vocabulary = 0;  ///< tokens
  std::int64_t channels = 0;    ///< of images
  std::int64_t height = 0;      ///< pixels
  std::int64_t width = 0;       ///< pixels
  std::int64_t classes = 0;     ///< labels of images
};

}  // namespace rwkvlab
