#include <fmt/format.h>

#include <array>
#include <csetjmp>
#include <cstdio>
// Needs size_t and FILE to be known.
#include <jerror.h>
#include <jpeglib.h>

#include "base/error.h"
#include "data/images/codecs.h"

namespace rwkvlab {
namespace {

// libjpeg's errors jump to setjmp, so nothing with a destructor may live between there and a call into it.
struct Errors {
  jpeg_error_mgr manager;  // first: libjpeg hands this address back
  std::jmp_buf back;
  std::array<char, JMSG_LENGTH_MAX> message;
};

[[noreturn]] void fail(j_common_ptr jpeg) {
  auto* const errors = reinterpret_cast<Errors*>(jpeg->err);
  errors->manager.format_message(jpeg, errors->message.data());
  std::longjmp(errors->back, 1);
}

// Warnings tell of damage that libjpeg papers over. Stray bytes between segments, which many files have, are harmless.
void judge(j_common_ptr jpeg, int level) {
  if (level < 0 && jpeg->err->msg_code != JWRN_EXTRANEOUS_DATA && jpeg->err->msg_code != JWRN_ADOBE_XFORM) fail(jpeg);
}

// A progressive file may repeat scans for ever; each costs a pass over the picture.
void limit_scans(j_common_ptr jpeg) {
  if (jpeg->is_decompressor != 0 && reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number > 500) {
    jpeg->err->msg_code = JERR_INPUT_EOF;
    fail(jpeg);
  }
}

struct Decoder {
  Decoder() {
    jpeg.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = fail;
    errors.manager.emit_message = judge;
    errors.message.fill(0);
    progress.progress_monitor = limit_scans;
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { jpeg_destroy_decompress(&jpeg); }

  jpeg_decompress_struct jpeg{};
  Errors errors{};
  jpeg_progress_mgr progress{};
};

bool read_header(Decoder& decoder, std::string_view bytes) {
  if (setjmp(decoder.errors.back) != 0) return false;
  jpeg_create_decompress(&decoder.jpeg);
  decoder.jpeg.progress = &decoder.progress;
  jpeg_mem_src(&decoder.jpeg, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&decoder.jpeg, TRUE);
  const J_COLOR_SPACE space = decoder.jpeg.jpeg_color_space;
  decoder.jpeg.out_color_space = space == JCS_GRAYSCALE                   ? JCS_GRAYSCALE
                                 : space == JCS_CMYK || space == JCS_YCCK ? JCS_CMYK
                                                                          : JCS_RGB;
  // The same values on machines with and without fast instructions.
  decoder.jpeg.dct_method = JDCT_ISLOW;
  return true;
}

bool read_pixels(Decoder& decoder, std::uint8_t* pixels) {
  if (setjmp(decoder.errors.back) != 0) return false;
  jpeg_start_decompress(&decoder.jpeg);
  const std::size_t row_bytes = std::size_t{decoder.jpeg.output_width} * decoder.jpeg.output_components;
  while (decoder.jpeg.output_scanline < decoder.jpeg.output_height) {
    JSAMPROW row = pixels + decoder.jpeg.output_scanline * row_bytes;
    jpeg_read_scanlines(&decoder.jpeg, &row, 1);
  }
  jpeg_finish_decompress(&decoder.jpeg);
  return true;
}

[[noreturn]] void refuse(const std::string& source, std::string_view what) {
  throw DataError(fmt::format("'{}' is no readable JPEG picture: {}", source, what));
}

// Adobe's programs store CMYK inverted, and hardly any others store it at all: 255 means no ink.
BytePicture from_pixels(const std::vector<std::uint8_t>& pixels, std::int64_t components, std::int64_t height,
                        std::int64_t width, bool is_inverted) {
  const std::int64_t channels = components == 1 ? 1 : 3, count = height * width;
  BytePicture picture{channels, height, width, std::vector<std::uint8_t>(static_cast<std::size_t>(channels * count))};
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint8_t* const pixel = pixels.data() + i * components;
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      int value = pixel[channel];
      if (components == 4) {
        const int ink = is_inverted ? value : 255 - value, black = is_inverted ? pixel[3] : 255 - pixel[3];
        value = (ink * black + 127) / 255;
      }
      picture.values[static_cast<std::size_t>(channel * count + i)] = static_cast<std::uint8_t>(value);
    }
  }
  return picture;
}

}  // namespace

BytePicture decode_jpeg(std::string_view bytes, const std::string& source, std::int64_t max_pixels) {
  Decoder decoder;
  if (!read_header(decoder, bytes)) refuse(source, decoder.errors.message.data());
  const auto height = static_cast<std::int64_t>(decoder.jpeg.image_height),
             width = static_cast<std::int64_t>(decoder.jpeg.image_width);
  if (height > max_pixels / width) {
    refuse(source, fmt::format("it has {} x {} pixels, expected at most {} in all", height, width, max_pixels));
  }
  const std::int64_t components = decoder.jpeg.out_color_space == JCS_GRAYSCALE ? 1
                                  : decoder.jpeg.out_color_space == JCS_CMYK    ? 4
                                                                                : 3;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(height * width * components));
  if (!read_pixels(decoder, pixels.data())) refuse(source, decoder.errors.message.data());
  return from_pixels(pixels, components, height, width, decoder.jpeg.saw_Adobe_marker != 0);
}

BytePicture decode_picture(std::string_view bytes, const std::string& source, std::int64_t max_pixels) {
  if (bytes.starts_with("\x89PNG")) return decode_png(bytes, source, PngValues::colours, max_pixels);
  if (bytes.starts_with("\xFF\xD8")) return decode_jpeg(bytes, source, max_pixels);
  throw DataError(fmt::format("'{}' is neither a PNG nor a JPEG picture: found {}", source,
                              bytes.empty() ? "an empty file" : "other bytes at its beginning"));
}

}  // namespace rwkvlab
