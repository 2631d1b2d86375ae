// The HDF5 C library behind handles that close themselves and errors that are exceptions; with record_set.h the only
// place that talks to it. Every message names the file and the object in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rwkvlab::hdf5 {

/// HDF5's hid_t, so that users of this header need not include the library's.
using Id = std::int64_t;

/// Owns one HDF5 identifier of any kind.
class Handle {
 public:
  using Closer = int (*)(Id);
  Handle() = default;
  Handle(Id id, Closer closer) : id_(id), closer_(closer) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), closer_(other.closer_) {}
  Handle& operator=(Handle&& other) noexcept;
  ~Handle() { reset(); }

  Id id() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }
  /// Closes now; returns false when the library reports an error (for a file: data may not have reached the disk).
  bool reset() noexcept;

 private:
  Id id_ = -1;
  Closer closer_ = nullptr;
};

/// What the library said about the last failure, innermost cause first, in one line.
std::string last_reason();
/// "run.h5:/metrics/loss/value": the file, the object in it and, optionally, something inside the object.
std::string place(Id object, const std::string& name = "");
/// Where something failed, and why. Made right after the failing call: it takes the library's reason, which the next
/// successful call forgets.
struct Location {
  Location(Id failed_object, std::string failed_name = "") : object(failed_object), name(std::move(failed_name)) {}
  Location(const std::filesystem::path& failed_path) : path(failed_path.string()) {}
  std::string text() const { return path.empty() ? place(object, name) : path; }

  std::string reason = last_reason();
  Id object = -1;
  std::string name;
  std::string path;
};
/// Throws FileError "<where>: cannot <what>: <reason>".
[[noreturn]] void fail_write(const Location& where, std::string_view what);
/// Throws DataError "<where>: <what>: <reason>", for a file that is damaged or not ours.
[[noreturn]] void fail_read(const Location& where, std::string_view what);

/// Creates an empty file that HDF5 1.10 and later read (also with swmr=True), without time stamps, and closes it.
/// Throws FileError. The library does not survive a full disk well: reserve the space before writing more.
void create_empty_file(const std::filesystem::path& path);
/// Opens an existing file. Throws DataError when it is not HDF5 or damaged; when it cannot be opened, FileError for
/// writing and DataError for reading.
Handle open_file(const std::filesystem::path& path, bool writable);
/// Closes a file that was written. Throws FileError when the last bytes could not be written.
void close_written(Handle file, const std::filesystem::path& path);

/// Opens a group, creating it and its parents (without time stamps) when `create` is set.
Handle open_group(Id parent, const std::string& path, bool create);
bool exists(Id parent, const std::string& path);
/// Unlinks a group or dataset directly inside a group; nothing when there is none.
void remove(Id parent, const std::string& name);
/// Names of the groups and datasets directly inside a group, sorted by name.
std::vector<std::string> children(Id group);
bool is_group(Id parent, const std::string& name);

/// Attributes; writing replaces an old one. Texts are fixed-length UTF-8. Reading throws DataError when the attribute
/// is absent or of another kind.
void write_attribute(Id object, const std::string& name, std::string_view text);
void write_attribute(Id object, const std::string& name, std::int64_t number);
bool has_attribute(Id object, const std::string& name);
std::vector<std::string> attribute_names(Id object);
bool attribute_is_text(Id object, const std::string& name);
std::string text_attribute(Id object, const std::string& name);
std::int64_t integer_attribute(Id object, const std::string& name);

/// A text as a scalar dataset (UTF-8, fixed length), replacing an old one.
void write_text(Id parent, const std::string& name, std::string_view text);
std::string read_text(Id parent, const std::string& name);
/// Texts as a dataset [text] (UTF-8, fixed length), replacing an old one.
void write_texts(Id parent, const std::string& name, const std::vector<std::string>& texts);
std::vector<std::string> read_texts(Id parent, const std::string& name);

}  // namespace rwkvlab::hdf5
