// Files: reading through memory maps, writing so that a crash never leaves half a file, and expanding patterns.
//
// Failing to read an input (missing, a folder, no permission) is a DataError; failing to write is a FileError. Both
// name the path and the reason the system gave.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rwkvlab {

/// A file mapped into memory, read-only; an empty file maps to nothing. Pages are read from the disk when touched, so
/// a map of a file larger than the memory is fine. Move-only. The file must not be shortened while it is mapped;
/// files written through this header never are, because they are replaced as a whole.
class MappedFile {
 public:
  MappedFile() = default;
  /// Throws DataError naming the path, the reason and, for a missing file, the nearest existing name.
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    MappedFile(std::move(other)).swap(*this);
    return *this;
  }
  ~MappedFile();

  const std::filesystem::path& path() const { return path_; }
  std::size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  void swap(MappedFile& other) noexcept;
  /// Tells the system that the pages within these bytes are not needed soon; they are read again when touched.
  void release_pages(std::size_t begin, std::size_t bytes) const noexcept;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// The whole of a file. Throws DataError when it cannot be read or has more than `max_bytes` bytes.
std::string read_text(const std::filesystem::path& path, std::size_t max_bytes = std::size_t{64} << 20);

/// "no such file: a/b.txt (did you mean a/c.txt?)": a sentence for a path that does not exist. Names the first folder
/// that is missing, or the nearest existing name in the last one.
std::string missing_file_text(const std::filesystem::path& path);

/// A file that appears under its name only when it is complete. Writes go to a temporary file in the same folder;
/// commit() syncs it, renames it over the old one and syncs the folder. Without commit() the temporary file is removed
/// and an older file of that name stays as it was. Every error is a FileError.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  /// Appends; small pieces are gathered before they reach the system.
  void write(std::string_view bytes);
  void write(std::span<const std::byte> bytes) { write({reinterpret_cast<const char*>(bytes.data()), bytes.size()}); }
  /// Replaces bytes that were written before, such as the sizes in a header.
  void overwrite(std::size_t place, std::string_view bytes);
  /// To be called once, last.
  void commit();

 private:
  void flush();
  void write_through(std::string_view bytes);

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::string pending_;
  int descriptor_ = -1;
};

/// Calls `writer` with an AtomicFile and commits it. An exception from `writer` leaves the old file as it was.
void write_atomically(const std::filesystem::path& path, const std::function<void(AtomicFile&)>& writer);
/// Writes `text` as the whole of the file, atomically.
void write_atomically(const std::filesystem::path& path, std::string_view text);

/// A folder that appears under its name only when it is complete. Fill staging(); publish() syncs every file in it and
/// renames it into place, replacing an older folder of that name. Without publish() it is removed. FileError on errors.
class AtomicDirectory {
 public:
  explicit AtomicDirectory(std::filesystem::path path);
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;
  ~AtomicDirectory();

  /// The folder to fill: "<path>.tmp-…", beside the final one.
  const std::filesystem::path& staging() const { return staging_; }
  /// To be called once, last.
  void publish();

 private:
  std::filesystem::path path_;
  std::filesystem::path staging_;
};

/// Makes a folder and those above it. Throws FileError, also when a file is in the way.
void make_directories(const std::filesystem::path& path);
/// Makes the entries of a folder (names made, renamed or removed in it) survive a power cut. Throws FileError.
void sync_directory(const std::filesystem::path& path);
/// Removes what AtomicFile and AtomicDirectory of killed processes of this machine left in `folder`; never throws.
void remove_abandoned(const std::filesystem::path& folder) noexcept;

/// The files that a path or pattern names, sorted bytewise. `*` and `?` stand for characters inside one name, `**` for
/// any number of folders; names that begin with a dot need a pattern that does, and linked folders are not entered by
/// `**`. A relative pattern starts at `base`; so do the results when `base` is relative. A pattern that is itself an
/// existing path names just that. Throws DataError when nothing matches or a folder cannot be read.
std::vector<std::filesystem::path> expand_glob(std::string_view pattern, const std::filesystem::path& base);
/// The same for a list, in the order of the list; a file that is named twice, also through a link, appears once.
std::vector<std::filesystem::path> expand_globs(std::span<const std::string> patterns,
                                                const std::filesystem::path& base);
/// True when a path matches a pattern as above (both taken as text, parts separated by '/').
bool matches_glob(std::string_view path, std::string_view pattern);

}  // namespace rwkvlab
