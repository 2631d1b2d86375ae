// Zip archives whose records are stored without compression, as torch.save writes them (APPNOTE of PKWARE, version
// 6.3). Used by pth.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace rwkvlab::detail {

/// A record of an archive: where its bytes are in the file.
struct ZipRecord {
  std::string name;
  std::size_t begin = 0;
  std::size_t bytes = 0;
  std::uint32_t checksum = 0;  ///< CRC-32 of the bytes, as the directory says
};

/// The CRC-32 of some bytes, as archives state it.
std::uint32_t checksum_of(std::span<const std::byte> bytes);

/// The records that the central directory names, each checked against its local header and the size of the file; zip64
/// included. Throws DataError for an archive that is cut short, compressed, encrypted, split, that has two records of
/// one name or records that overlap. `file` is the name for messages.
std::vector<ZipRecord> parse_zip(std::string_view bytes, const std::string& file);

/// Writes an archive of stored records, each beginning at a multiple of 64 bytes; sizes and places from `large` on are
/// written in the zip64 form.
class ZipWriter {
 public:
  explicit ZipWriter(AtomicFile& file, std::uint64_t large = 0xFFFFFFFF) : file_(file), large_(large) {}
  using Take = std::function<void(std::span<const std::byte>)>;
  /// Adds a record of `bytes` bytes that `body` hands over piece by piece. It is called twice: the checksum comes
  /// first.
  void add(const std::string& name, std::uint64_t bytes, const std::function<void(const Take&)>& body);
  void add(const std::string& name, std::string_view bytes);
  /// To be called once, last.
  void finish();

 private:
  struct Written {
    std::string name;
    std::uint64_t bytes, header;
    std::uint32_t checksum;
  };
  void write(std::string_view bytes);

  AtomicFile& file_;
  std::uint64_t large_, position_ = 0;
  std::vector<Written> records_;
};

}  // namespace rwkvlab::detail
