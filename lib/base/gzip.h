// Gzip (RFC 1952) through zlib, and base64 (RFC 4648) for bytes inside JSON.
//
// Whatever reads here takes packed and plain files alike: gzip shows by its first two bytes.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace rwkvlab {

/// The packed bytes; equal for equal input on the same machine.
std::string gzip(std::string_view bytes);
/// Unpacks. Throws DataError naming `source` for what is damaged, cut off or larger than `max_bytes`.
std::string gunzip(std::string_view packed, const std::string& source, std::size_t max_bytes);
/// The whole of a file, unpacked when it is gzip. Throws DataError when it cannot be read or has more than `max_bytes`.
std::string read_unpacked(const std::filesystem::path& path, std::size_t max_bytes = std::size_t{256} << 20);

std::string to_base64(std::string_view bytes);
/// Throws DataError naming `source` for what is not base64.
std::string from_base64(std::string_view text, const std::string& source);

/// The lines of a file that may be packed and larger than the memory.
class LineReader {
 public:
  /// Throws DataError when the file cannot be opened.
  explicit LineReader(const std::filesystem::path& path);
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;
  ~LineReader();

  /// The next line, without its end; false behind the last one. Throws DataError for a damaged file and for a line of
  /// more than a gigabyte.
  bool next(std::string& line);
  /// Number of the line that next() gave, from 1.
  std::size_t number() const { return number_; }

 private:
  void refill();
  std::filesystem::path path_;
  void* file_ = nullptr;  // zlib's gzFile
  std::string buffer_;
  std::size_t place_ = 0;  // of the next byte in the buffer
  std::size_t number_ = 0;
};

}  // namespace rwkvlab
