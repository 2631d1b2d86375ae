#include "tensor/zip_archive.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "base/error.h"
#include "tensor/tensor_file.h"

namespace rwkvlab::detail {
namespace {

constexpr std::uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50;
constexpr std::uint32_t end64_signature = 0x06064b50, locator64_signature = 0x07064b50;
constexpr std::uint16_t zip64_field = 1;
constexpr std::size_t local_bytes = 30, central_bytes = 46, end_bytes = 22, end64_bytes = 56, locator64_bytes = 20;
constexpr std::size_t longest_comment = 65535;

template <class T>
T number_at(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

class ZipReader {
 public:
  ZipReader(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  std::vector<ZipRecord> records() {
    const Directory directory = find_directory();
    std::vector<ZipRecord> records;
    std::unordered_set<std::string> names;
    std::size_t at = directory.begin;
    for (std::uint64_t i = 0; i < directory.count; ++i) {
      if (directory.end - at < central_bytes || number_at<std::uint32_t>(bytes_, at) != central_signature)
        fail(fmt::format("the directory of the archive ends after {} of {} records", i, directory.count));
      records.push_back(read_record(at, directory.end));
      if (!names.insert(records.back().name).second)
        fail(fmt::format("the record {} is there twice", shown(records.back().name)));
    }
    refuse_overlaps(records);
    return records;
  }

 private:
  struct Directory {
    std::size_t begin = 0, end = 0;
    std::uint64_t count = 0;
  };

  [[noreturn]] void fail(const std::string& what) const { throw DataError(fmt::format("'{}': {}", file_, what)); }

  // The last place where the archive's end can begin.
  std::size_t find_end() const {
    if (bytes_.size() >= end_bytes) {
      const std::size_t last = bytes_.size() - end_bytes;
      for (std::size_t back = 0; back <= std::min(last, longest_comment); ++back) {
        if (number_at<std::uint32_t>(bytes_, last - back) == end_signature) return last - back;
      }
    }
    fail(
        fmt::format("the archive has no end, expected a directory after its records; the file of {} bytes is cut short",
                    bytes_.size()));
  }

  Directory find_directory() const {
    const std::size_t end = find_end();
    std::uint64_t count = number_at<std::uint16_t>(bytes_, end + 10);
    std::uint64_t size = number_at<std::uint32_t>(bytes_, end + 12), begin = number_at<std::uint32_t>(bytes_, end + 16);
    std::uint64_t limit = end;
    if (number_at<std::uint16_t>(bytes_, end + 4) != 0) fail("the archive is split over several files");
    if (end >= locator64_bytes && number_at<std::uint32_t>(bytes_, end - locator64_bytes) == locator64_signature) {
      const auto at = number_at<std::uint64_t>(bytes_, end - locator64_bytes + 8);
      if (at > end || end - at < locator64_bytes + end64_bytes ||
          number_at<std::uint32_t>(bytes_, static_cast<std::size_t>(at)) != end64_signature)
        fail("the 64-bit end of the archive is not where it should be");
      count = number_at<std::uint64_t>(bytes_, static_cast<std::size_t>(at) + 32);
      size = number_at<std::uint64_t>(bytes_, static_cast<std::size_t>(at) + 40);
      begin = number_at<std::uint64_t>(bytes_, static_cast<std::size_t>(at) + 48);
      limit = at;
    }
    if (begin > limit || size > limit - begin)
      fail(fmt::format("the directory of the archive (bytes {} to {} + {}) does not fit the file of {} bytes", begin,
                       begin, size, bytes_.size()));
    return {static_cast<std::size_t>(begin), static_cast<std::size_t>(begin + size), count};
  }

  // The numbers of a record that did not fit 32 bits, in the order in which the format gives them.
  void read_zip64(std::string_view extra, std::initializer_list<std::uint64_t*> values, const std::string& name) const {
    for (std::size_t at = 0; at + 4 <= extra.size();) {
      const auto field = number_at<std::uint16_t>(extra, at), length = number_at<std::uint16_t>(extra, at + 2);
      at += 4;
      if (length > extra.size() - at) break;
      if (field == zip64_field) {
        std::size_t place = at;
        for (std::uint64_t* const value : values) {
          if (*value != 0xFFFFFFFF) continue;
          if (place + 8 > at + length) fail(fmt::format("the record {} lacks its 64-bit size", shown(name)));
          *value = number_at<std::uint64_t>(extra, place);
          place += 8;
        }
        return;
      }
      at += length;
    }
  }

  // Reads the entry of the directory at `at` and moves behind it.
  ZipRecord read_record(std::size_t& at, std::size_t end) const {
    const auto flags = number_at<std::uint16_t>(bytes_, at + 8), method = number_at<std::uint16_t>(bytes_, at + 10);
    const auto checksum = number_at<std::uint32_t>(bytes_, at + 16);
    std::uint64_t packed = number_at<std::uint32_t>(bytes_, at + 20), size = number_at<std::uint32_t>(bytes_, at + 24);
    const std::size_t name_bytes = number_at<std::uint16_t>(bytes_, at + 28);
    const std::size_t extra_bytes = number_at<std::uint16_t>(bytes_, at + 30);
    const std::size_t comment_bytes = number_at<std::uint16_t>(bytes_, at + 32);
    std::uint64_t header = number_at<std::uint32_t>(bytes_, at + 42);
    at += central_bytes;
    if (end - at < name_bytes + extra_bytes + comment_bytes) fail("the directory of the archive is cut short");
    ZipRecord record;
    record.name = std::string(bytes_.substr(at, name_bytes));
    read_zip64(bytes_.substr(at + name_bytes, extra_bytes), {&size, &packed, &header}, record.name);
    at += name_bytes + extra_bytes + comment_bytes;
    if ((flags & 1u) != 0) fail(fmt::format("the record {} is encrypted", shown(record.name)));
    if (method != 0 || packed != size)
      fail(
          fmt::format("the record {} is compressed, expected records as torch.save stores them; unpack the archive and "
                      "pack it again without compression (zip -0)",
                      shown(record.name)));
    record.begin = body_of(record.name, header, size);
    record.bytes = static_cast<std::size_t>(size);
    record.checksum = checksum;
    return record;
  }

  // Where the bytes of a record begin, from its own header.
  std::size_t body_of(const std::string& name, std::uint64_t header, std::uint64_t size) const {
    const auto at = static_cast<std::size_t>(header);
    if (header > bytes_.size() || bytes_.size() - at < local_bytes ||
        number_at<std::uint32_t>(bytes_, at) != local_signature)
      fail(fmt::format("the record {} is not at byte {}, where the directory says", shown(name), header));
    const std::size_t skipped = local_bytes + number_at<std::uint16_t>(bytes_, at + 26) +
                                std::size_t{number_at<std::uint16_t>(bytes_, at + 28)};
    if (number_at<std::uint16_t>(bytes_, at + 26) != name.size() ||
        bytes_.substr(at + local_bytes, name.size()) != std::string_view(name))
      fail(fmt::format("the record {} has another name in front of its bytes", shown(name)));
    if (bytes_.size() - at < skipped || bytes_.size() - at - skipped < size)
      fail(fmt::format("the record {} ends {} bytes beyond the file", shown(name),
                       header + skipped + size - bytes_.size()));
    return at + skipped;
  }

  void refuse_overlaps(const std::vector<ZipRecord>& records) const {
    std::vector<const ZipRecord*> order;
    for (const ZipRecord& record : records) order.push_back(&record);
    std::sort(order.begin(), order.end(), [](const ZipRecord* a, const ZipRecord* b) { return a->begin < b->begin; });
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (order[i]->begin < order[i - 1]->begin + order[i - 1]->bytes)
        fail(fmt::format("the records {} and {} overlap", shown(order[i - 1]->name), shown(order[i]->name)));
    }
  }

  std::string_view bytes_;
  std::string file_;
};

// Numbers in the order of their bytes.
class Bytes {
 public:
  template <class T>
  Bytes& operator<<(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& text(std::string_view text) {
    text_ += text;
    return *this;
  }
  const std::string& str() const { return text_; }

 private:
  std::string text_;
};

using U16 = std::uint16_t;
using U32 = std::uint32_t;
using U64 = std::uint64_t;

constexpr U16 plain_version = 20, zip64_version = 45, name_is_utf8 = 0x800;
constexpr U16 padding_field = 0x4246;  // "FB", as PyTorch calls it
constexpr U32 no_time = 0x00210000;    // 1980-01-01, the first day of the format

}  // namespace

std::uint32_t checksum_of(std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::vector<ZipRecord> parse_zip(std::string_view bytes, const std::string& file) {
  return ZipReader(bytes, file).records();
}

void ZipWriter::write(std::string_view bytes) {
  file_.write(bytes);
  position_ += bytes.size();
}

void ZipWriter::add(const std::string& name, std::uint64_t bytes, const std::function<void(const Take&)>& body) {
  uLong checksum = crc32(0, nullptr, 0);
  body([&](std::span<const std::byte> piece) {
    checksum = crc32_z(checksum, reinterpret_cast<const Bytef*>(piece.data()), piece.size());
  });
  records_.push_back({name, bytes, position_, static_cast<std::uint32_t>(checksum)});
  const bool is_large = bytes >= large_;
  const U32 size = is_large ? 0xFFFFFFFF : static_cast<U32>(bytes);
  Bytes extra;
  if (is_large) extra << zip64_field << U16{16} << U64{bytes} << U64{bytes};
  const std::uint64_t unpadded = position_ + local_bytes + name.size() + extra.str().size() + 4;
  const std::size_t padding = (64 - unpadded % 64) % 64;
  extra << padding_field << static_cast<U16>(padding);
  extra.text(std::string(padding, 'Z'));
  Bytes header;
  header << local_signature << (is_large ? zip64_version : plain_version) << name_is_utf8 << U16{0} << no_time
         << records_.back().checksum << size << size << static_cast<U16>(name.size())
         << static_cast<U16>(extra.str().size());
  write(header.str());
  write(name);
  write(extra.str());
  const std::uint64_t begin = position_;
  body([&](std::span<const std::byte> piece) { write({reinterpret_cast<const char*>(piece.data()), piece.size()}); });
  check_invariant(position_ - begin == bytes, "a record of an archive has another size than was said");
}

void ZipWriter::add(const std::string& name, std::string_view bytes) {
  add(name, bytes.size(), [bytes](const Take& take) { take(std::as_bytes(std::span(bytes))); });
}

void ZipWriter::finish() {
  const std::uint64_t begin = position_;
  for (const Written& record : records_) {
    const bool is_large = record.bytes >= large_, is_far = record.header >= large_;
    Bytes extra;
    if (is_large || is_far) extra << zip64_field << static_cast<U16>((is_large ? 16 : 0) + (is_far ? 8 : 0));
    if (is_large) extra << U64{record.bytes} << U64{record.bytes};
    if (is_far) extra << U64{record.header};
    const U16 version = is_large || is_far ? zip64_version : plain_version;
    const U32 size = is_large ? 0xFFFFFFFF : static_cast<U32>(record.bytes);
    Bytes entry;
    entry << central_signature << version << version << name_is_utf8 << U16{0} << no_time << record.checksum << size
          << size << static_cast<U16>(record.name.size()) << static_cast<U16>(extra.str().size()) << U16{0} << U16{0}
          << U16{0} << U32{0} << (is_far ? U32{0xFFFFFFFF} : static_cast<U32>(record.header));
    write(entry.str());
    write(record.name);
    write(extra.str());
  }
  const std::uint64_t end = position_, bytes = end - begin, count = records_.size();
  const bool is_far = begin >= large_ || bytes >= large_ || count >= 0xFFFF;
  Bytes tail;
  if (is_far) {
    tail << end64_signature << U64{end64_bytes - 12} << zip64_version << zip64_version << U32{0} << U32{0} << count
         << count << bytes << begin;
    tail << locator64_signature << U32{0} << end << U32{1};
  }
  const U16 short_count = is_far ? U16{0xFFFF} : static_cast<U16>(count);
  tail << end_signature << U16{0} << U16{0} << short_count << short_count
       << (is_far ? U32{0xFFFFFFFF} : static_cast<U32>(bytes)) << (is_far ? U32{0xFFFFFFFF} : static_cast<U32>(begin))
       << U16{0};
  write(tail.str());
}

}  // namespace rwkvlab::detail
