#include "tensor/pth.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/nearest.h"
#include "tensor/pickle.h"
#include "tensor/zip_archive.h"

namespace rwkvlab {
namespace detail {
namespace {

// The record of an archive that torch.save wrote: "<name of the archive>/<key>".
class Archive {
 public:
  Archive(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {
    std::vector<ZipRecord> records = parse_zip(bytes, file);
    std::string folder;
    for (ZipRecord& record : records) {
      const std::size_t slash = record.name.find('/');
      if (slash == std::string::npos) continue;
      if (record.name.substr(slash) == "/data.pkl") folder = record.name.substr(0, slash + 1);
      records_.emplace(record.name, std::move(record));
    }
    if (folder.empty()) {
      throw DataError(fmt::format("'{}': the archive has no record '…/data.pkl', expected a file of torch.save", file));
    }
    folder_ = folder;
  }

  const ZipRecord* find(const std::string& key) const {
    const auto found = records_.find(folder_ + key);
    return found == records_.end() ? nullptr : &found->second;
  }
  std::string_view text(const std::string& key) const {
    const ZipRecord* const record = find(key);
    return record == nullptr ? std::string_view() : bytes_.substr(record->begin, record->bytes);
  }
  /// Whether the archive was written with checksums: torch.serialization.set_crc32_options(False) leaves numbers of no
  /// meaning in their place.
  bool has_checksums() const {
    const ZipRecord* const pickle = find("data.pkl");
    return pickle != nullptr && pickle->checksum == checksum_of(std::as_bytes(std::span(text("data.pkl"))));
  }

 private:
  std::string_view bytes_;
  std::string file_, folder_;
  std::unordered_map<std::string, ZipRecord> records_;
};

class Placer {
 public:
  Placer(const Archive& archive, const std::string& file)
      : archive_(archive), file_(file), has_checksums_(archive.has_checksums()) {}

  TensorEntry place(const PickledTensor& tensor) {
    if (!names_.insert(tensor.name).second) fail(tensor, "is there twice");
    const ZipRecord* const storage = archive_.find("data/" + std::string(tensor.storage));
    if (storage == nullptr)
      fail(tensor, fmt::format("has its elements in the record 'data/{}', which is missing", tensor.storage));
    const std::size_t element = stored_size(tensor.stored_type);
    std::uint64_t expected = element;
    if (__builtin_mul_overflow(expected, static_cast<std::uint64_t>(tensor.storage_elements), &expected) ||
        expected != storage->bytes) {
      fail(tensor, fmt::format("has a storage of {} elements of type {}, but the record 'data/{}' has {} bytes",
                               tensor.storage_elements, tensor.stored_type, tensor.storage, storage->bytes));
    }
    TensorEntry entry;
    entry.name = tensor.name;
    entry.stored_type = std::string(tensor.stored_type);
    const std::int64_t extent = checked_extent(tensor);
    entry.shape = Shape(tensor.sizes);
    entry.begin = storage->begin + static_cast<std::size_t>(extent == 0 ? 0 : tensor.offset) * element;
    entry.bytes = static_cast<std::size_t>(extent) * element;
    if (!is_row_major(tensor)) entry.strides = tensor.strides;
    if (has_checksums_ && entry.begin == storage->begin && entry.bytes == storage->bytes) {
      entry.checksum = storage->checksum;
    }
    return entry;
  }

 private:
  [[noreturn]] void fail(const PickledTensor& tensor, const std::string& what) const {
    throw DataError(fmt::format("'{}': the tensor {} {}", file_, shown(tensor.name), what));
  }

  // Elements of the storage from the first of the tensor to its last, after checking that it stays inside.
  std::int64_t checked_extent(const PickledTensor& tensor) const {
    const auto& sizes = tensor.sizes;
    if (sizes.size() > Shape::max_rank)
      fail(tensor, fmt::format("has {} dimensions, expected at most {}", sizes.size(), Shape::max_rank));
    if (sizes.size() != tensor.strides.size())
      fail(tensor, fmt::format("has {} sizes and {} strides", sizes.size(), tensor.strides.size()));
    std::int64_t last = 0, elements = 1;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      std::int64_t step = 0;
      if (sizes[i] < 0 || tensor.strides[i] < 0) fail(tensor, "has a negative size or stride");
      if (__builtin_mul_overflow(std::max<std::int64_t>(sizes[i], 1), elements, &elements) ||
          __builtin_mul_overflow(std::max<std::int64_t>(sizes[i] - 1, 0), tensor.strides[i], &step) ||
          __builtin_add_overflow(last, step, &last) || elements > (std::int64_t{1} << 60)) {
        fail(tensor, "has sizes that are too large");
      }
    }
    if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) return 0;
    if (tensor.offset < 0 || tensor.offset >= tensor.storage_elements ||
        last >= tensor.storage_elements - tensor.offset) {
      fail(tensor, fmt::format("of shape {} spans {} elements from element {} on, but its storage has {}",
                               Shape(sizes).text(), last + 1, tensor.offset, tensor.storage_elements));
    }
    if (elements > last + 1)
      fail(tensor, fmt::format("repeats elements of its storage (shape {}, strides of 0); save a copy of it",
                               Shape(sizes).text()));
    return last + 1;
  }

  static bool is_row_major(const PickledTensor& tensor) {
    std::int64_t stride = 1;
    for (std::size_t i = tensor.sizes.size(); i-- > 0;) {
      if (tensor.sizes[i] == 0) return true;
      if (tensor.sizes[i] != 1 && tensor.strides[i] != stride) return false;
      stride *= tensor.sizes[i];
    }
    return true;
  }

  const Archive& archive_;
  std::string file_;
  bool has_checksums_;
  std::unordered_set<std::string> names_;
};

}  // namespace

PthContents parse_pth(std::string_view bytes, const std::string& file) {
  if (bytes.starts_with(legacy_pth_start)) {
    throw DataError(fmt::format(
        "'{}' is in the format that PyTorch wrote before version 1.6; load it in a newer PyTorch and save it "
        "again with torch.save",
        file));
  }
  if (!bytes.starts_with("PK")) {
    throw DataError(fmt::format("'{}' is no .pth file: expected the archive that torch.save writes", file));
  }
  const Archive archive(bytes, file);
  if (const std::string_view order = archive.text("byteorder"); !order.empty() && order != "little") {
    throw DataError(
        fmt::format("'{}' was written on a machine with byte order {}, expected 'little'", file, shown(order)));
  }
  PickledDictionary pickled = parse_pickle(archive.text("data.pkl"), file);
  PthContents contents;
  Placer placer(archive, file);
  for (const PickledTensor& tensor : pickled.tensors) contents.entries.push_back(placer.place(tensor));
  std::stable_sort(contents.entries.begin(), contents.entries.end(),
                   [](const TensorEntry& a, const TensorEntry& b) { return a.begin < b.begin; });
  contents.texts = std::move(pickled.texts);
  return contents;
}

}  // namespace detail

PthFile::PthFile(const std::filesystem::path& path) : TensorFile(MappedFile(path), "pth") {
  detail::PthContents contents = detail::parse_pth(file().text(), path.string());
  set_contents(std::move(contents.entries), std::move(contents.texts));
}

void write_pth(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
               std::optional<FloatFormat> format) {
  std::unordered_set<std::string_view> names;
  for (const NamedTensor& each : tensors)
    check_invariant(names.insert(each.name).second, "two tensors of one name in a file");
  write_atomically(path, [&](AtomicFile& file) {
    detail::ZipWriter zip(file);
    zip.add("archive/data.pkl", detail::write_pickle(tensors, format));
    zip.add("archive/byteorder", "little");
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      zip.add(fmt::format("archive/data/{}", i), detail::stored_bytes(tensors[i].tensor, format),
              [&](const detail::ZipWriter::Take& take) { detail::for_stored_bytes(tensors[i], format, take); });
    }
    zip.add("archive/version", "3\n");
    zip.finish();
  });
}

}  // namespace rwkvlab
