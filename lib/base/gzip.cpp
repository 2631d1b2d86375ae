#include "base/gzip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "base/file.h"

namespace rwkvlab {
namespace {

constexpr int gzip_window = 15 + 16;  // the largest window, with gzip's header
constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

Bytef* as_bytes(const char* text) { return reinterpret_cast<Bytef*>(const_cast<char*>(text)); }

bool is_gzip(std::string_view bytes) { return bytes.starts_with("\x1f\x8b"); }

[[noreturn]] void fail(const std::string& source, std::string_view what) {
  throw DataError(fmt::format("'{}': {}", source, what));
}

// zlib counts bytes in 32 bits.
uInt portion(std::size_t bytes) { return static_cast<uInt>(std::min<std::size_t>(bytes, std::size_t{1} << 30)); }

}  // namespace

std::string gzip(std::string_view bytes) {
  check_invariant(bytes.size() < std::numeric_limits<uInt>::max(), "too much to be packed at once");
  z_stream stream{};
  check_invariant(deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, gzip_window, 8, Z_DEFAULT_STRATEGY) == Z_OK,
                  "zlib does not start");
  std::string packed(deflateBound(&stream, static_cast<uLong>(bytes.size())), '\0');
  stream.next_in = as_bytes(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = as_bytes(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int outcome = deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  check_invariant(outcome == Z_STREAM_END, "zlib does not finish");
  return packed;
}

std::string gunzip(std::string_view packed, const std::string& source, std::size_t max_bytes) {
  z_stream stream{};
  check_invariant(inflateInit2(&stream, gzip_window) == Z_OK, "zlib does not start");
  std::string bytes;
  std::array<char, std::size_t{1} << 16> piece;
  int outcome = Z_OK;
  for (std::size_t used = 0; outcome == Z_OK && bytes.size() <= max_bytes;) {
    stream.next_in = as_bytes(packed.data() + used);
    stream.avail_in = portion(packed.size() - used);
    stream.next_out = as_bytes(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    const uInt given = stream.avail_in;
    outcome = inflate(&stream, Z_NO_FLUSH);
    used += given - stream.avail_in;
    bytes.append(piece.data(), piece.size() - stream.avail_out);
    // A file may hold several members, one after the other.
    if (outcome == Z_STREAM_END && is_gzip(packed.substr(used))) outcome = inflateReset(&stream);
  }
  inflateEnd(&stream);
  if (bytes.size() > max_bytes) fail(source, fmt::format("unpacks to more than {} bytes", max_bytes));
  if (outcome != Z_STREAM_END) fail(source, "the gzip data are damaged or cut off");
  return bytes;
}

std::string read_unpacked(const std::filesystem::path& path, std::size_t max_bytes) {
  std::string bytes = read_text(path, max_bytes);
  return is_gzip(bytes) ? gunzip(bytes, path.string(), max_bytes) : bytes;
}

std::string to_base64(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() / 3 * 4 + 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    unsigned group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = group << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0);
    for (std::size_t k = 0; k < 4; ++k) text += k <= count ? alphabet[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::string from_base64(std::string_view text, const std::string& source) {
  std::array<int, 256> value;
  value.fill(-1);
  for (std::size_t i = 0; i < alphabet.size(); ++i)
    value[static_cast<unsigned char>(alphabet[i])] = static_cast<int>(i);
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  if (text.size() % 4 != 0) fail(source, "the base64 text is cut off");
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    unsigned group = 0;
    for (std::size_t k = i; k < i + 4; ++k) {
      const int digit = k >= text.size() - padding ? 0 : value[static_cast<unsigned char>(text[k])];
      if (digit < 0) fail(source, fmt::format("byte {} of the base64 text is none of its alphabet", k));
      group = group << 6 | static_cast<unsigned>(digit);
    }
    for (int shift = 16; shift >= 0; shift -= 8) bytes += static_cast<char>(group >> shift & 255);
  }
  bytes.resize(bytes.size() - padding);
  return bytes;
}

LineReader::LineReader(const std::filesystem::path& path) : path_(path) {
  const MappedFile readable(path);  // Says why when it is not.
  file_ = gzopen(path.c_str(), "rb");
  if (file_ == nullptr) fail(path.string(), "cannot be opened");
  gzbuffer(static_cast<gzFile>(file_), 1u << 18);
}

LineReader::~LineReader() { gzclose_r(static_cast<gzFile>(file_)); }

bool LineReader::next(std::string& line) {
  line.clear();
  bool is_any = false;
  for (;;) {
    if (place_ == buffer_.size()) {
      refill();
      if (buffer_.empty()) break;
    }
    is_any = true;
    const std::size_t end = std::min(buffer_.find('\n', place_), buffer_.size());
    line.append(buffer_, place_, end - place_);
    place_ = std::min(end + 1, buffer_.size());
    if (end < buffer_.size()) break;
    if (line.size() > std::size_t{1} << 30) fail(path_.string(), fmt::format("line {} is too long", number_ + 1));
  }
  if (line.ends_with('\r')) line.pop_back();
  if (is_any) ++number_;
  return is_any;
}

void LineReader::refill() {
  const auto file = static_cast<gzFile>(file_);
  buffer_.resize(std::size_t{1} << 18);
  place_ = 0;
  const int got = gzread(file, buffer_.data(), static_cast<unsigned>(buffer_.size()));
  int error = Z_OK;
  const char* const reason = gzerror(file, &error);
  if (got < 0 || error < Z_OK) fail(path_.string(), fmt::format("cannot be read on: {}", reason));
  buffer_.resize(static_cast<std::size_t>(got));
}

}  // namespace rwkvlab
