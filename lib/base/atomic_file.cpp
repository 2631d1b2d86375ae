// The writing half of base/file.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"

namespace rwkvlab {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t gather_bytes = std::size_t{256} << 10;
constexpr std::string_view marker = ".tmp-";

std::string reason(int error) { return std::error_code(error, std::generic_category()).message(); }

[[noreturn]] void cannot_write(const fs::path& path, int error) {
  throw FileError(fmt::format("cannot write '{}': {}", path.string(), reason(error)));
}

// Distinguishes machines that share a file system, so that remove_abandoned() judges only processes of its own.
std::string host_tag() {
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  return fmt::format("{:08x}", static_cast<std::uint32_t>(stable_hash(host)));
}

// "<path>.tmp-<machine>-<process>-<number>", in the folder of `path` so that a rename cannot cross file systems.
fs::path temporary_beside(const fs::path& path) {
  static std::atomic<unsigned> number{0};
  const fs::path name = path.filename();
  if (name.empty() || name == "." || name == "..") {
    throw FileError(fmt::format("cannot write '{}': expected a path that ends in a name", path.string()));
  }
  return path.parent_path() / fmt::format("{}{}{}-{}-{}", name.string(), marker, host_tag(), ::getpid(), number++);
}

// Some file systems (FUSE, a few network ones) do not know fsync; that is no failure to write.
bool fsync_failed(int descriptor) {
  while (::fsync(descriptor) != 0) {
    if (errno != EINTR) return errno != EINVAL && errno != ENOTSUP && errno != ENOSYS;
  }
  return false;
}

void sync_path(const fs::path& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC);
  if (descriptor < 0) cannot_write(path, errno);
  const bool failed = fsync_failed(descriptor);
  const int error = errno;
  ::close(descriptor);
  if (failed) cannot_write(path, error);
}

fs::path folder_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

// True when `name` is a temporary of a process of this machine that has ended.
bool is_abandoned(std::string_view name) {
  const std::size_t start = name.rfind(marker);
  if (start == std::string_view::npos) return false;
  std::string_view rest = name.substr(start + marker.size());
  const std::string host = host_tag() + "-";
  if (!rest.starts_with(host)) return false;
  rest.remove_prefix(host.size());
  pid_t process = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), process);
  const bool is_ours = error == std::errc() && end != rest.data() + rest.size() && *end == '-' && process > 0;
  return is_ours && ::kill(process, 0) != 0 && errno == ESRCH;
}

}  // namespace

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)), temporary_(temporary_beside(path_)) {
  std::error_code ignored;
  if (fs::is_directory(path_, ignored)) cannot_write(path_, EISDIR);
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) cannot_write(path_, errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::string_view bytes) {
  check_invariant(descriptor_ >= 0, "write to a file that is already committed");
  if (pending_.size() + bytes.size() > gather_bytes) flush();
  if (bytes.size() >= gather_bytes) {
    write_through(bytes);
  } else {
    pending_.append(bytes);
  }
}

void AtomicFile::flush() {
  write_through(pending_);
  pending_.clear();
}

void AtomicFile::write_through(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) cannot_write(path_, errno);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

void AtomicFile::overwrite(std::size_t place, std::string_view bytes) {
  check_invariant(descriptor_ >= 0, "write to a file that is already committed");
  flush();
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(place));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) cannot_write(path_, errno);
    bytes.remove_prefix(static_cast<std::size_t>(count));
    place += static_cast<std::size_t>(count);
  }
}

void AtomicFile::commit() {
  check_invariant(descriptor_ >= 0, "second commit of a file");
  flush();
  if (fsync_failed(descriptor_)) cannot_write(path_, errno);
  const int descriptor = descriptor_;
  descriptor_ = -1;
  // Network file systems report a full disk only here.
  if ((::close(descriptor) != 0 && errno != EINTR) || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary_.c_str());
    cannot_write(path_, error);
  }
  sync_directory(folder_of(path_));
}

void write_atomically(const fs::path& path, const std::function<void(AtomicFile&)>& writer) {
  AtomicFile file(path);
  writer(file);
  file.commit();
}

void write_atomically(const fs::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

AtomicDirectory::AtomicDirectory(fs::path path) : path_(std::move(path)) {
  if (!path_.has_filename()) path_ = path_.parent_path();  // "folder/"
  staging_ = temporary_beside(path_);
  std::error_code error;
  if (fs::exists(path_, error) && !fs::is_directory(path_, error)) cannot_write(path_, ENOTDIR);
  if (::mkdir(staging_.c_str(), 0777) != 0) {
    const int code = errno;
    staging_.clear();
    cannot_write(path_, code);
  }
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;
  if (!staging_.empty()) fs::remove_all(staging_, ignored);
}

void AtomicDirectory::publish() {
  check_invariant(!staging_.empty(), "second publication of a folder");
  try {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(staging_)) {
      if (entry.is_symlink()) continue;
      if (entry.is_directory()) sync_path(entry.path(), O_RDONLY | O_DIRECTORY);
      if (entry.is_regular_file()) sync_path(entry.path(), O_RDONLY);
    }
  } catch (const fs::filesystem_error& error) {
    cannot_write(path_, error.code().value());
  }
  sync_directory(staging_);
  // A plain rename replaces nothing or an empty folder. A full one trades places with the new one, so that at every
  // moment a complete folder has the name; what was replaced is then removed.
  bool was_replaced = false;
  if (::rename(staging_.c_str(), path_.c_str()) != 0) {
    if (errno != ENOTEMPTY && errno != EEXIST) cannot_write(path_, errno);
    if (::renameat2(AT_FDCWD, staging_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) != 0) {
      if (errno != EINVAL && errno != ENOSYS) cannot_write(path_, errno);
      // Without an exchange in this file system the name is missing for a moment, but nothing is lost.
      const fs::path old = temporary_beside(path_);
      if (::rename(path_.c_str(), old.c_str()) != 0) cannot_write(path_, errno);
      if (::rename(staging_.c_str(), path_.c_str()) != 0) {
        const int error = errno;
        ::rename(old.c_str(), path_.c_str());
        cannot_write(path_, error);
      }
      staging_ = old;
    }
    was_replaced = true;
  }
  const fs::path old = std::exchange(staging_, fs::path());
  sync_directory(folder_of(path_));
  std::error_code ignored;
  if (was_replaced) fs::remove_all(old, ignored);
}

void make_directories(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error && !fs::is_directory(path, error) && !error) error = std::make_error_code(std::errc::not_a_directory);
  if (error) throw FileError(fmt::format("cannot make the folder '{}': {}", path.string(), error.message()));
}

void sync_directory(const fs::path& path) { sync_path(path, O_RDONLY | O_DIRECTORY); }

void remove_abandoned(const fs::path& folder) noexcept {
  try {
    std::vector<fs::path> abandoned;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      if (is_abandoned(entry.path().filename().string())) abandoned.push_back(entry.path());
    }
    std::error_code ignored;
    for (const fs::path& path : abandoned) fs::remove_all(path, ignored);
  } catch (const std::exception&) {
    // Leftovers only take space; a folder that cannot be read is reported by whoever needs it.
  }
}

}  // namespace rwkvlab
