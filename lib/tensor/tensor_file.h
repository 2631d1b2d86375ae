// Files of named tensors, opened for reading: safetensors (safetensors.h) and the .pth files of torch.save (pth.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.h"
#include "tensor/tensor.h"

namespace rwkvlab {

/// What a file says about one tensor.
struct TensorEntry {
  std::string name;
  std::string stored_type;  ///< F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8 or BOOL
  Shape shape;
  std::size_t begin = 0;                       ///< first byte of the elements, from the start of the file
  std::size_t bytes = 0;                       ///< from the first element to the end of the last
  std::vector<std::int64_t> strides = {};      ///< elements between neighbours of each dimension; empty: row-major
  std::optional<std::uint32_t> checksum = {};  ///< CRC-32 of the bytes, where the file states one for them alone

  /// The type tensor() returns: F64 -> f64; F32, F16, BF16 -> f32; integers and BOOL -> i64.
  DType dtype() const;
};

/// A file of tensors, mapped into memory: its description is checked completely when it is opened, elements are read
/// only for the tensors that are asked for, straight into where they go.
class TensorFile {
 public:
  const std::filesystem::path& path() const { return file_.path(); }
  /// Bytes of the whole file.
  std::size_t size() const { return file_.size(); }
  /// "safetensors" or "pth".
  const std::string& format() const { return format_; }
  /// All tensors in the order of their elements in the file.
  const std::vector<TensorEntry>& entries() const { return entries_; }
  /// Names of all tensors, in the same order.
  std::vector<std::string> names() const;
  /// Texts beside the tensors: those under "__metadata__" of a safetensors file; texts, numbers and truth values of a
  /// .pth file's dictionary.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// One of these texts. Throws DataError naming the nearest key when it is absent.
  const std::string& metadata(const std::string& key) const;

  bool contains(std::string_view name) const { return find(name) != nullptr; }
  /// Null when there is no such tensor.
  const TensorEntry* find(std::string_view name) const;
  /// Throws DataError naming the nearest name when there is no such tensor.
  const TensorEntry& entry(std::string_view name) const;
  /// A copy of the elements, converted as TensorEntry::dtype says (half floats and bfloat16 exactly).
  Tensor tensor(std::string_view name) const;
  /// The same converted to `type`; to integers only when the file holds integers.
  Tensor tensor(std::string_view name, DType type) const;
  /// tensor(name), after checking the shape: DataError naming both shapes.
  Tensor require(std::string_view name, const Shape& shape) const;
  /// Overwrites `into`, which has as many elements, with the converted elements. No other memory is used for row-major
  /// tensors, and the file's pages are given back to the system. DataError as for tensor(name, type), and for bytes
  /// that have another checksum than the file states.
  void read(std::string_view name, const Tensor& into) const;

 protected:
  TensorFile(MappedFile file, std::string format) : file_(std::move(file)), format_(std::move(format)) {}
  void set_contents(std::vector<TensorEntry> entries, std::map<std::string, std::string> metadata);
  const MappedFile& file() const { return file_; }

 private:
  MappedFile file_;
  std::string format_;
  std::vector<TensorEntry> entries_;
  std::unordered_map<std::string, std::size_t> index_;
  std::map<std::string, std::string> metadata_;
};

/// What the first bytes of a file say it is: "safetensors", "pth", or "" for neither.
std::string_view tensor_file_format(const std::filesystem::path& path);

/// Opens either kind, told apart by the first bytes. Throws DataError for what is neither.
TensorFile open_tensor_file(const std::filesystem::path& path);

namespace detail {
/// Bytes of one element of a stored type; 0 for an unknown type.
std::size_t stored_size(std::string_view stored_type);
/// A name of a tensor as a message shows it: quoted, control characters escaped, shortened.
std::string shown(std::string_view name);
}  // namespace detail

}  // namespace rwkvlab
