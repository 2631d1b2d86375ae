#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/nearest.h"

namespace rwkvlab {
namespace fs = std::filesystem;
namespace {

std::string reason(int error) { return std::error_code(error, std::generic_category()).message(); }

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const { return value_; }

 private:
  int value_;
};

[[noreturn]] void cannot_read(const fs::path& path, int error) {
  if (error == ENOENT || error == ENOTDIR) throw DataError(missing_file_text(path));
  throw DataError(fmt::format("cannot read '{}': {}", path.string(), reason(error)));
}

// Opens a regular file for reading. A pipe or device would block or never end, so it is refused before it is opened.
int open_to_read(const fs::path& path, std::size_t& size) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) cannot_read(path, errno);
  if (S_ISDIR(status.st_mode)) throw DataError(fmt::format("'{}' is a folder, expected a file", path.string()));
  if (!S_ISREG(status.st_mode)) throw DataError(fmt::format("'{}' is not a regular file", path.string()));
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) cannot_read(path, errno);
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    const int error = errno;
    ::close(descriptor);
    cannot_read(path, error);
  }
  size = static_cast<std::size_t>(status.st_size);
  return descriptor;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
    if (names.size() >= 10000) break;
  }
  return names;
}

}  // namespace

std::string missing_file_text(const fs::path& path) {
  std::error_code error;
  fs::path existing = path.parent_path();
  fs::path missing = path;
  while (!existing.empty() && existing != missing && !fs::exists(existing, error)) {
    missing = existing;
    existing = existing.parent_path();
  }
  const fs::path folder = existing.empty() ? fs::path(".") : existing;
  if (!fs::is_directory(folder, error)) {
    return fmt::format("no such file: '{}' ('{}' is a file, not a folder)", path.string(), folder.string());
  }
  std::vector<std::string> names = names_in(folder);
  std::sort(names.begin(), names.end());
  const std::string nearest = nearest_name(missing.filename().string(), names);
  const std::string hint = nearest.empty() ? "" : fmt::format(" (did you mean '{}'?)", (existing / nearest).string());
  if (missing == path) return fmt::format("no such file: '{}'{}", path.string(), hint);
  return fmt::format("no such file: '{}': there is no folder '{}'{}", path.string(), missing.string(), hint);
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const Descriptor file(open_to_read(path, size_));
  if (size_ == 0) return;
  void* const data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED) cannot_read(path, errno);
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::swap(MappedFile& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
}

void MappedFile::release_pages(std::size_t begin, std::size_t bytes) const noexcept {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t first = (begin + page - 1) / page * page, end = (begin + bytes) / page * page;
  if (first < end) ::madvise(const_cast<std::byte*>(data_) + first, end - first, MADV_DONTNEED);
}

std::string read_text(const fs::path& path, std::size_t max_bytes) {
  std::size_t size = 0;
  const Descriptor file(open_to_read(path, size));
  if (size > max_bytes) {
    throw DataError(
        fmt::format("'{}' has {} bytes, expected a text of at most {} bytes", path.string(), size, max_bytes));
  }
  std::string text(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::read(file.get(), text.data() + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) cannot_read(path, errno);
    if (count == 0) break;  // The file became shorter meanwhile.
    done += static_cast<std::size_t>(count);
  }
  text.resize(done);
  return text;
}

}  // namespace rwkvlab
