#include "data/images/contact_sheet.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace rwkvlab {
namespace {

constexpr std::int64_t line = 2;  // pixels between two pictures
constexpr std::uint8_t ground = 128;

// One byte picture of each tile: the pictures, and the maps of classes.
std::vector<BytePicture> tiles(const ImageBatch& batch, std::int64_t classes) {
  const Shape& shape = batch.images.shape();
  const std::int64_t channels = shape[1], height = shape[2], width = shape[3], pixels = height * width;
  const std::span<const float> values = batch.images.span<float>();
  const auto [least, largest] = std::minmax_element(values.begin(), values.end());
  const float low = *least, range = std::max(*largest - *least, 1e-6F);
  const bool is_dense = batch.labels.shape().rank() == 3;
  std::vector<BytePicture> result;
  for (std::int64_t row = 0; row < shape[0]; ++row) {
    BytePicture& picture = result.emplace_back(BytePicture{channels, height, width, {}});
    for (const float value : values.subspan(static_cast<std::size_t>(row * channels * pixels),
                                            static_cast<std::size_t>(channels * pixels))) {
      picture.values.push_back(static_cast<std::uint8_t>(std::lround((value - low) / range * 255)));
    }
    if (!is_dense) continue;
    BytePicture& map = result.emplace_back(BytePicture{channels, height, width, {}});
    for (std::int64_t i = 0; i < channels * pixels; ++i) {
      const std::int64_t label = batch.labels.data<std::int64_t>()[row * pixels + i % pixels];
      map.values.push_back(
          static_cast<std::uint8_t>(label < 0 ? 0 : 40 + 215 * label / std::max<std::int64_t>(1, classes - 1)));
    }
  }
  return result;
}

}  // namespace

BytePicture contact_sheet(const ImageBatch& batch, std::int64_t classes, std::int64_t columns, std::int64_t scale) {
  check_invariant(columns >= 1 && scale >= 1, "a contact sheet without columns or pixels");
  const std::vector<BytePicture> all = tiles(batch, classes);
  const BytePicture& first = all.front();
  const std::int64_t count = static_cast<std::int64_t>(all.size()), across = std::min(columns, count),
                     down = (count + columns - 1) / columns;
  const std::int64_t tall = first.height * scale + line, wide = first.width * scale + line;
  BytePicture sheet{first.channels, down * tall + line, across * wide + line, {}};
  sheet.values.assign(static_cast<std::size_t>(sheet.channels * sheet.height * sheet.width), ground);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t top = i / columns * tall + line, left = i % columns * wide + line;
    for (std::int64_t channel = 0; channel < sheet.channels; ++channel) {
      for (std::int64_t y = 0; y < first.height * scale; ++y) {
        for (std::int64_t x = 0; x < first.width * scale; ++x) {
          sheet.values[static_cast<std::size_t>((channel * sheet.height + top + y) * sheet.width + left + x)] =
              all[static_cast<std::size_t>(i)]
                  .values[static_cast<std::size_t>((channel * first.height + y / scale) * first.width + x / scale)];
        }
      }
    }
  }
  return sheet;
}

}  // namespace rwkvlab
