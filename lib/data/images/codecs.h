// PNG through libpng, JPEG through libjpeg-turbo.
//
// `source` names the file in messages. What is damaged, cut off, or has more than `max_pixels` is a DataError.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "data/images/picture.h"

namespace rwkvlab {

inline constexpr std::int64_t most_pixels = std::int64_t{1} << 27;

/// How the colours of a PNG become values.
enum class PngValues {
  colours,  ///< palettes and fewer than 8 bits are expanded, 16 bits cut to 8; an alpha channel is left out
  indices   ///< of a palette or a grey picture of at most 8 bits: the stored numbers, one channel (masks)
};

/// 1 channel (grey) or 3 (red, green, blue). The gamma of the file is not applied, as is usual in vision.
BytePicture decode_png(std::string_view bytes, const std::string& source, PngValues values = PngValues::colours,
                       std::int64_t max_pixels = most_pixels);
/// The same for JPEG; CMYK becomes RGB. Data that end too early are an error, stray bytes between segments are not.
BytePicture decode_jpeg(std::string_view bytes, const std::string& source, std::int64_t max_pixels = most_pixels);
/// Either of them, told by the first bytes.
BytePicture decode_picture(std::string_view bytes, const std::string& source, std::int64_t max_pixels = most_pixels);

/// An 8-bit PNG of 1 or 3 channels; equal bytes for equal pictures with the same libpng.
std::string encode_png(const BytePicture& picture);
/// Writes it atomically.
void write_png(const std::filesystem::path& path, const BytePicture& picture);

}  // namespace rwkvlab
