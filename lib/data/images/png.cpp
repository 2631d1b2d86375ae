#include <fmt/format.h>
#include <png.h>

#include <array>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "data/images/codecs.h"

namespace rwkvlab {
namespace {

// What libpng's functions find behind their pointers. It has no exceptions: its errors jump to setjmp, so nothing with
// a destructor may live between there and a call into it.
struct Reading {
  std::string_view bytes;
  std::size_t place = 0;
  std::array<char, 160> error{};
};

void read_bytes(png_structp png, png_bytep to, std::size_t count) {
  auto* const reading = static_cast<Reading*>(png_get_io_ptr(png));
  if (count > reading->bytes.size() - reading->place) png_error(png, "the file is cut off");
  std::memcpy(to, reading->bytes.data() + reading->place, count);
  reading->place += count;
}

void fail(png_structp png, png_const_charp message) {
  auto* const reading = static_cast<Reading*>(png_get_error_ptr(png));
  std::strncpy(reading->error.data(), message, reading->error.size() - 1);
  png_longjmp(png, 1);
}

void ignore(png_structp, png_const_charp) {}

// Frees libpng's structures.
struct Reader {
  explicit Reader(Reading* reading)
      : png(png_create_read_struct(PNG_LIBPNG_VER_STRING, reading, fail, ignore)),
        info(png == nullptr ? nullptr : png_create_info_struct(png)) {
    check_invariant(info != nullptr, "libpng does not start");
    png_set_read_fn(png, reading, read_bytes);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
  png_structp png;
  png_infop info;
};

struct Header {
  png_uint_32 width = 0, height = 0;
  int depth = 0, colour = 0;
};

bool read_header(const Reader& reader, Header* header) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_read_info(reader.png, reader.info);
  png_get_IHDR(reader.png, reader.info, &header->width, &header->height, &header->depth, &header->colour, nullptr,
               nullptr, nullptr);
  return true;
}

// `channels` becomes the number of bytes per pixel that rows will have.
bool set_values(const Reader& reader, PngValues values, int* channels) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  if (values == PngValues::indices) {
    png_set_packing(reader.png);
  } else {
    png_set_expand(reader.png);
    png_set_strip_16(reader.png);
    png_set_strip_alpha(reader.png);
  }
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  *channels = png_get_channels(reader.png, reader.info);
  return true;
}

bool read_rows(const Reader& reader, png_bytepp rows) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_read_image(reader.png, rows);
  png_read_end(reader.png, nullptr);
  return true;
}

[[noreturn]] void refuse(const std::string& source, std::string_view what) {
  throw DataError(fmt::format("'{}' is no readable PNG picture: {}", source, what));
}

// Pixel by pixel -> channel by channel.
BytePicture planar(const std::vector<std::uint8_t>& pixels, std::int64_t channels, std::int64_t height,
                   std::int64_t width) {
  BytePicture picture{channels, height, width, std::vector<std::uint8_t>(pixels.size())};
  const std::int64_t count = height * width;
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    for (std::int64_t i = 0; i < count; ++i) {
      picture.values[static_cast<std::size_t>(channel * count + i)] =
          pixels[static_cast<std::size_t>(i * channels + channel)];
    }
  }
  return picture;
}

std::vector<png_bytep> rows_of(std::vector<std::uint8_t>& pixels, std::size_t height) {
  std::vector<png_bytep> rows(height);
  for (std::size_t row = 0; row < height; ++row) rows[row] = pixels.data() + row * (pixels.size() / height);
  return rows;
}

void append(png_structp png, png_bytep bytes, std::size_t count) {
  static_cast<std::string*>(png_get_io_ptr(png))->append(reinterpret_cast<const char*>(bytes), count);
}
void flush(png_structp) {}

bool write_rows(png_structp png, png_infop info, const BytePicture& picture, png_bytepp rows, std::string* out) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_set_write_fn(png, out, append, flush);
  png_set_IHDR(png, info, static_cast<png_uint_32>(picture.width), static_cast<png_uint_32>(picture.height), 8,
               picture.channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  png_write_image(png, rows);
  png_write_end(png, info);
  return true;
}

}  // namespace

BytePicture decode_png(std::string_view bytes, const std::string& source, PngValues values, std::int64_t max_pixels) {
  Reading reading{bytes};
  const Reader reader(&reading);
  Header header;
  if (!read_header(reader, &header)) refuse(source, reading.error.data());
  const auto height = static_cast<std::int64_t>(header.height), width = static_cast<std::int64_t>(header.width);
  if (height > max_pixels / std::max<std::int64_t>(width, 1)) {
    refuse(source, fmt::format("it has {} x {} pixels, expected at most {} in all", height, width, max_pixels));
  }
  if (values == PngValues::indices &&
      (header.depth > 8 || (header.colour != PNG_COLOR_TYPE_PALETTE && header.colour != PNG_COLOR_TYPE_GRAY))) {
    refuse(source, "expected one number per pixel: a palette, or grey of at most 8 bits");
  }
  int channels = 0;
  if (!set_values(reader, values, &channels)) refuse(source, reading.error.data());
  check_invariant(channels == 1 || channels == 3, "libpng gives another number of channels than was asked for");
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(height * width * channels));
  std::vector<png_bytep> rows = rows_of(pixels, header.height);
  if (!read_rows(reader, rows.data())) refuse(source, reading.error.data());
  return planar(pixels, channels, height, width);
}

std::string encode_png(const BytePicture& picture) {
  check_invariant((picture.channels == 1 || picture.channels == 3) && picture.height > 0 && picture.width > 0,
                  "a picture that PNG cannot hold");
  // Channel by channel -> pixel by pixel: the same exchange with the sides swapped.
  std::vector<std::uint8_t> pixels = planar(picture.values, picture.height * picture.width, 1, picture.channels).values;
  std::vector<png_bytep> rows = rows_of(pixels, static_cast<std::size_t>(picture.height));
  Reading messages;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &messages, fail, ignore);
  png_infop info = png == nullptr ? nullptr : png_create_info_struct(png);
  check_invariant(info != nullptr, "libpng does not start");
  std::string out;
  const bool is_written = write_rows(png, info, picture, rows.data(), &out);
  png_destroy_write_struct(&png, &info);
  check_invariant(is_written, messages.error.data());
  return out;
}

void write_png(const std::filesystem::path& path, const BytePicture& picture) {
  write_atomically(path, encode_png(picture));
}

}  // namespace rwkvlab
