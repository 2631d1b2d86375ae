// Any bytes as a PNG or JPEG picture.
#include <zlib.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "tests/data/picture_bytes.h"
#include "tests/fuzz/fuzz.h"

namespace {

using rwkvlab::BytePicture;
using rwkvlab::PngValues;

// Puts the right checksum behind each chunk: libpng looks no further at a chunk with a wrong one.
std::string with_checksums(std::string png) {
  const auto number = [&png](std::size_t place) {
    std::size_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(png[place + i]);
    return value;
  };
  for (std::size_t chunk = 8; chunk + 12 <= png.size();) {
    const std::size_t length = number(chunk);
    if (length > png.size() - chunk - 12) break;
    const auto* const bytes = reinterpret_cast<const Bytef*>(png.data() + chunk + 4);
    const uLong sum = crc32(0, bytes, static_cast<uInt>(length + 4));
    for (std::size_t i = 0; i < 4; ++i) png[chunk + 8 + length + i] = static_cast<char>(sum >> (24 - 8 * i) & 255);
    chunk += 12 + length;
  }
  return png;
}

void decode(const std::string& bytes, bool as_indices) {
  constexpr std::int64_t most = 1 << 14;
  try {
    const BytePicture picture = as_indices ? rwkvlab::decode_png(bytes, "input", PngValues::indices, most)
                                           : rwkvlab::decode_picture(bytes, "input", most);
    const std::int64_t pixels = picture.height * picture.width;
    if (pixels < 1 || pixels > most || (picture.channels != 1 && picture.channels != 3)) __builtin_trap();
    if (static_cast<std::int64_t>(picture.values.size()) != picture.channels * pixels) __builtin_trap();
  } catch (const rwkvlab::DataError&) {
    // The only way in which a broken file may end.
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  decode(bytes, false);
  if (bytes.size() < 8 || bytes[1] != 'P') return 0;
  const std::string repaired = with_checksums(bytes);
  decode(repaired, false);
  decode(repaired, true);
  return 0;
}

std::vector<std::string> rwkvlab::fuzz::seeds() {
  using test::encode_jpeg, test::gradient;
  return {encode_png(gradient(3, 7, 5)),         encode_png(gradient(1, 4, 9)),        encode_jpeg(gradient(3, 16, 9)),
          encode_jpeg(gradient(3, 9, 17), true), encode_jpeg(gradient(1, 8, 8), true), encode_jpeg(gradient(1, 5, 3))};
}
