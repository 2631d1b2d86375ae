#include "record/hdf5.h"

#include <fmt/format.h>
#include <hdf5.h>

#include <algorithm>

#include "base/error.h"

namespace rwkvlab::hdf5 {

static_assert(std::is_same_v<Id, hid_t>, "HDF5 1.10 and later use 64-bit identifiers");

namespace {

template <herr_t (*close)(hid_t)>
int closer(Id id) {
  return close(id);
}

Handle space(Id id) { return {id, closer<H5Sclose>}; }
Handle list(Id id) { return {id, closer<H5Pclose>}; }
Handle attribute(Id id) { return {id, closer<H5Aclose>}; }

std::string object_name(Id object) {
  char name[512] = "";
  H5Iget_name(object, name, sizeof name);
  return name;
}

// Failures become exceptions; the library must not print them too.
void silence() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

Handle access_list() {
  Handle access = list(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_libver_bounds(access.id(), H5F_LIBVER_V110, H5F_LIBVER_V110);
  H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 10, 7)
  // A file is never written where others can see it, so locks would only fail on file systems that have none.
  H5Pset_file_locking(access.id(), false, true);
#endif
  return access;
}

Handle text_type(std::size_t size) {
  Handle type(H5Tcopy(H5T_C_S1), closer<H5Tclose>);
  H5Tset_size(type.id(), size);
  H5Tset_cset(type.id(), H5T_CSET_UTF8);
  H5Tset_strpad(type.id(), size == H5T_VARIABLE ? H5T_STR_NULLTERM : H5T_STR_NULLPAD);
  return type;
}

Handle scalar_space() { return space(H5Screate(H5S_SCALAR)); }

Handle open_attribute(Id object, const std::string& name, H5T_class_t expected, const char* kind) {
  Handle opened = attribute(H5Aexists(object, name.c_str()) > 0 ? H5Aopen(object, name.c_str(), H5P_DEFAULT) : -1);
  if (!opened) throw DataError(fmt::format("{}: the attribute '{}' is missing.", place(object), name));
  const Handle type(H5Aget_type(opened.id()), closer<H5Tclose>);
  const Handle extent = space(H5Aget_space(opened.id()));
  if (H5Tget_class(type.id()) != expected || H5Sget_simple_extent_npoints(extent.id()) != 1) {
    throw DataError(fmt::format("{}: the attribute '{}' is not {}.", place(object), name, kind));
  }
  return opened;
}

void write_new_attribute(Id object, const std::string& name, Id type, const void* value) {
  if (H5Aexists(object, name.c_str()) > 0) H5Adelete(object, name.c_str());
  const Handle extent = scalar_space();
  const Handle created = attribute(H5Acreate2(object, name.c_str(), type, extent.id(), H5P_DEFAULT, H5P_DEFAULT));
  if (!created || H5Awrite(created.id(), type, value) < 0) fail_write({object}, "write the attribute '" + name + "'");
}

// Texts of fixed length from scientific tools may be padded with zeros.
std::string until_zero(std::string text) {
  text.resize(std::min(text.size(), text.find('\0')));
  return text;
}

}  // namespace

Handle& Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    reset();
    id_ = std::exchange(other.id_, -1);
    closer_ = other.closer_;
  }
  return *this;
}

bool Handle::reset() noexcept {
  if (id_ < 0) return true;
  return closer_(std::exchange(id_, -1)) >= 0;
}

std::string last_reason() {
  std::string reason;
  const H5E_walk2_t visit = [](unsigned index, const H5E_error2_t* error, void* result) -> herr_t {
    if (index == 0 && error->desc != nullptr) *static_cast<std::string*>(result) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, visit, &reason);
  std::replace(reason.begin(), reason.end(), '\n', ' ');
  return reason.empty() ? "HDF5 gives no reason" : reason;
}

std::string place(Id object, const std::string& name) {
  char file[1024] = "";
  H5Fget_name(object, file, sizeof file);
  std::string path = object_name(object);
  if (!name.empty()) path += (path.empty() || path.back() != '/' ? "/" : "") + name;
  return fmt::format("{}:{}", file, path);
}

void fail_write(const Location& where, std::string_view what) {
  throw FileError(fmt::format("{}: cannot {}: {}.", where.text(), what, where.reason));
}

void fail_read(const Location& where, std::string_view what) {
  throw DataError(fmt::format("{}: {}: {}. The file is damaged or was not written by this program.", where.text(), what,
                              where.reason));
}

void create_empty_file(const std::filesystem::path& path) {
  silence();
  const Handle access = access_list();
  const Handle creation = list(H5Pcreate(H5P_FILE_CREATE));
  H5Pset_obj_track_times(creation.id(), false);
  Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.id(), access.id()), closer<H5Fclose>);
  if (!file || !file.reset()) fail_write(path, "create the file");
}

Handle open_file(const std::filesystem::path& path, bool writable) {
  silence();
  const Handle access = access_list();
  Handle file(H5Fopen(path.c_str(), writable ? H5F_ACC_RDWR : H5F_ACC_RDONLY, access.id()), closer<H5Fclose>);
  if (file) return file;
  const std::string reason = last_reason();
  const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
  if (is_hdf5 == 0) throw DataError(fmt::format("{}: this is not an HDF5 file.", path.string()));
  if (is_hdf5 > 0) throw DataError(fmt::format("{}: the HDF5 file is damaged: {}.", path.string(), reason));
  const std::string text = fmt::format("{}: cannot open the file: {}.", path.string(), reason);
  if (writable) throw FileError(text);
  throw DataError(text);
}

void close_written(Handle file, const std::filesystem::path& path) {
  if (!file.reset()) fail_write(path, "finish writing the file");
}

Handle open_group(Id parent, const std::string& path, bool create) {
  if (exists(parent, path)) {
    Handle group(H5Gopen2(parent, path.c_str(), H5P_DEFAULT), closer<H5Gclose>);
    if (!group) fail_read({parent, path}, "cannot open the group");
    return group;
  }
  if (!create) throw DataError(fmt::format("{}: the group is missing.", place(parent, path)));
  // Parents one by one: those that the library adds on its own would carry time stamps.
  const std::size_t slash = path.rfind('/');
  if (slash != std::string::npos && slash > 0) open_group(parent, path.substr(0, slash), true);
  const Handle creation = list(H5Pcreate(H5P_GROUP_CREATE));
  H5Pset_obj_track_times(creation.id(), false);
  Handle group(H5Gcreate2(parent, path.c_str(), H5P_DEFAULT, creation.id(), H5P_DEFAULT), closer<H5Gclose>);
  if (!group) fail_write({parent, path}, "create the group");
  return group;
}

bool exists(Id parent, const std::string& path) {
  // Every step of the path is asked for: the library fails on a missing parent.
  for (std::size_t end = path.find('/', 1); true; end = path.find('/', end + 1)) {
    if (H5Lexists(parent, path.substr(0, end).c_str(), H5P_DEFAULT) <= 0) return false;
    if (end == std::string::npos) return true;
  }
}

void remove(Id parent, const std::string& name) {
  if (exists(parent, name) && H5Ldelete(parent, name.c_str(), H5P_DEFAULT) < 0) fail_write({parent, name}, "remove");
}

std::vector<std::string> children(Id group) {
  std::vector<std::string> names;
  const H5L_iterate_t visit = [](hid_t, const char* name, const H5L_info_t* info, void* result) -> herr_t {
    // Soft and external links could lead anywhere, also to other files.
    if (info->type == H5L_TYPE_HARD) static_cast<std::vector<std::string>*>(result)->push_back(name);
    return 0;
  };
  if (H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, visit, &names) < 0) {
    fail_read({group}, "cannot list the group");
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool is_group(Id parent, const std::string& name) {
  H5O_info_t info{};
  return H5Oget_info_by_name2(parent, name.c_str(), &info, H5O_INFO_BASIC, H5P_DEFAULT) >= 0 &&
         info.type == H5O_TYPE_GROUP;
}

void write_attribute(Id object, const std::string& name, std::string_view text) {
  // Texts of variable length, because h5py returns those as str and others as bytes.
  const std::string terminated(text);
  const char* const pointer = terminated.c_str();
  write_new_attribute(object, name, text_type(H5T_VARIABLE).id(), &pointer);
}

void write_attribute(Id object, const std::string& name, std::int64_t number) {
  write_new_attribute(object, name, H5T_STD_I64LE, &number);
}

bool has_attribute(Id object, const std::string& name) { return H5Aexists(object, name.c_str()) > 0; }

std::vector<std::string> attribute_names(Id object) {
  std::vector<std::string> names;
  const H5A_operator2_t visit = [](hid_t, const char* name, const H5A_info_t*, void* result) -> herr_t {
    static_cast<std::vector<std::string>*>(result)->push_back(name);
    return 0;
  };
  if (H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, nullptr, visit, &names) < 0) {
    fail_read({object}, "cannot list the attributes");
  }
  return names;
}

bool attribute_is_text(Id object, const std::string& name) {
  const Handle opened = attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT));
  const Handle type(H5Aget_type(opened.id()), closer<H5Tclose>);
  return H5Tget_class(type.id()) == H5T_STRING;
}

std::string text_attribute(Id object, const std::string& name) {
  const Handle opened = open_attribute(object, name, H5T_STRING, "a text");
  const Handle stored(H5Aget_type(opened.id()), closer<H5Tclose>);
  if (H5Tis_variable_str(stored.id()) > 0) {
    char* text = nullptr;
    const Handle type = text_type(H5T_VARIABLE);
    if (H5Aread(opened.id(), type.id(), &text) < 0) {
      fail_read({object}, "cannot read the attribute '" + name + "'");
    }
    std::string result = text == nullptr ? "" : text;
    H5free_memory(text);
    return result;
  }
  std::string text(H5Tget_size(stored.id()), '\0');
  if (H5Aread(opened.id(), stored.id(), text.data()) < 0) {
    fail_read({object}, "cannot read the attribute '" + name + "'");
  }
  return until_zero(std::move(text));
}

std::int64_t integer_attribute(Id object, const std::string& name) {
  const Handle opened = open_attribute(object, name, H5T_INTEGER, "an integer");
  std::int64_t number = 0;
  if (H5Aread(opened.id(), H5T_NATIVE_INT64, &number) < 0) {
    fail_read({object}, "cannot read the attribute '" + name + "'");
  }
  return number;
}

void write_text(Id parent, const std::string& name, std::string_view text) {
  remove(parent, name);
  const Handle creation = list(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_obj_track_times(creation.id(), false);
  const std::string padded = text.empty() ? std::string(1, '\0') : std::string(text);
  const Handle type = text_type(padded.size());
  const Handle extent = scalar_space();
  const Handle set(H5Dcreate2(parent, name.c_str(), type.id(), extent.id(), H5P_DEFAULT, creation.id(), H5P_DEFAULT),
                   closer<H5Dclose>);
  if (!set || H5Dwrite(set.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, padded.data()) < 0) {
    fail_write({parent, name}, "write the text");
  }
}

std::string read_text(Id parent, const std::string& name) {
  const Handle set(exists(parent, name) ? H5Dopen2(parent, name.c_str(), H5P_DEFAULT) : -1, closer<H5Dclose>);
  if (!set) throw DataError(fmt::format("{}: the text is missing.", place(parent, name)));
  const Handle type(H5Dget_type(set.id()), closer<H5Tclose>);
  const Handle extent = space(H5Dget_space(set.id()));
  const std::size_t size = H5Tget_size(type.id());
  if (H5Tget_class(type.id()) != H5T_STRING || H5Tis_variable_str(type.id()) > 0 ||
      H5Sget_simple_extent_npoints(extent.id()) != 1 || H5Dget_storage_size(set.id()) < size) {
    throw DataError(fmt::format("{}: this is not a text of fixed length.", place(parent, name)));
  }
  std::string text(size, '\0');
  if (H5Dread(set.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()) < 0) {
    fail_read({parent, name}, "cannot read the text");
  }
  return until_zero(std::move(text));
}

void write_texts(Id parent, const std::string& name, const std::vector<std::string>& texts) {
  remove(parent, name);
  const Handle creation = list(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_obj_track_times(creation.id(), false);
  std::size_t longest = 1;
  for (const std::string& text : texts) longest = std::max(longest, text.size());
  std::string padded;
  for (const std::string& text : texts) padded += text + std::string(longest - text.size(), '\0');
  const Handle type = text_type(longest);
  const hsize_t count = texts.size();
  const Handle extent = space(H5Screate_simple(1, &count, nullptr));
  const Handle set(H5Dcreate2(parent, name.c_str(), type.id(), extent.id(), H5P_DEFAULT, creation.id(), H5P_DEFAULT),
                   closer<H5Dclose>);
  if (!set || H5Dwrite(set.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, padded.data()) < 0) {
    fail_write({parent, name}, "write the texts");
  }
}

std::vector<std::string> read_texts(Id parent, const std::string& name) {
  const Handle set(exists(parent, name) ? H5Dopen2(parent, name.c_str(), H5P_DEFAULT) : -1, closer<H5Dclose>);
  if (!set) throw DataError(fmt::format("{}: the texts are missing.", place(parent, name)));
  const Handle type(H5Dget_type(set.id()), closer<H5Tclose>);
  const Handle extent = space(H5Dget_space(set.id()));
  const std::size_t size = H5Tget_size(type.id());
  const auto count = static_cast<std::size_t>(std::max<hssize_t>(H5Sget_simple_extent_npoints(extent.id()), 0));
  // What is stored bounds what is read: a damaged file must not ask for all memory.
  const bool is_text = H5Tget_class(type.id()) == H5T_STRING && H5Tis_variable_str(type.id()) <= 0 && size > 0;
  if (!is_text || H5Sget_simple_extent_ndims(extent.id()) != 1 || H5Dget_storage_size(set.id()) / size < count) {
    throw DataError(fmt::format("{}: these are not texts of fixed length.", place(parent, name)));
  }
  std::string all(size * count, '\0');
  if (count > 0 && H5Dread(set.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, all.data()) < 0) {
    fail_read({parent, name}, "cannot read the texts");
  }
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < count; ++i) texts.push_back(until_zero(all.substr(i * size, size)));
  return texts;
}

}  // namespace rwkvlab::hdf5
