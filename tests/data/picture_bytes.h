// Small files of pictures, as bytes.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
// Needs size_t and FILE to be known.
#include <jpeglib.h>

#include "data/images/codecs.h"
#include "data/images/formats.h"

namespace rwkvlab::test {

/// Each value differs from its neighbours, smoothly enough for JPEG as long as a side has at most 17 pixels.
inline BytePicture gradient(std::int64_t channels, std::int64_t height, std::int64_t width) {
  BytePicture picture{channels, height, width, {}};
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x) {
        picture.values.push_back(static_cast<std::uint8_t>((40 + 60 * channel + 4 * y + 2 * x) % 256));
      }
    }
  }
  return picture;
}

/// Quality 95; a picture of one or three channels.
inline std::string encode_jpeg(const BytePicture& picture, bool is_progressive = false) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &memory, &size);
  jpeg.image_width = static_cast<JDIMENSION>(picture.width);
  jpeg.image_height = static_cast<JDIMENSION>(picture.height);
  jpeg.input_components = static_cast<int>(picture.channels);
  jpeg.in_color_space = picture.channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 95, TRUE);
  if (is_progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  std::string row(static_cast<std::size_t>(picture.width * picture.channels), '\0');
  for (std::int64_t y = 0; y < picture.height; ++y) {
    for (std::int64_t i = 0; i < picture.width * picture.channels; ++i) {
      const std::int64_t channel = i % picture.channels, x = i / picture.channels;
      row[static_cast<std::size_t>(i)] = static_cast<char>(
          picture.values[static_cast<std::size_t>((channel * picture.height + y) * picture.width + x)]);
    }
    auto* line = reinterpret_cast<JSAMPROW>(row.data());
    jpeg_write_scanlines(&jpeg, &line, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::string bytes(reinterpret_cast<const char*>(memory), size);
  std::free(memory);
  return bytes;
}

/// An IDX file of bytes.
inline std::string idx_file(const std::vector<std::int64_t>& shape, const std::string& elements) {
  std::string bytes{'\0', '\0', '\x08', static_cast<char>(shape.size())};
  for (const std::int64_t length : shape) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(length >> shift & 255);
  }
  return bytes + elements;
}

/// A record of CIFAR whose values are all `value`.
inline std::string cifar_record(const std::string& labels, char value) {
  return labels + std::string(cifar_bytes, value);
}

}  // namespace rwkvlab::test
