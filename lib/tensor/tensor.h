// A contiguous row-major tensor: a shape, an element type and a share of a buffer. Knows nothing of gradients.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tensor/memory.h"
#include "tensor/shape.h"

namespace rwkvlab {

/// Cheap to copy: copies share the memory. clone() makes a second one. A default-constructed tensor is undefined
/// ("none").
class Tensor {
 public:
  Tensor() = default;
  /// Uninitialised memory; NaN in builds with RWKVLAB_DEBUG_FILL.
  static Tensor empty(const Shape& shape, DType type = DType::f32);
  /// A shape that stands for elements which are elsewhere: it has no memory, and data() is null.
  static Tensor placeholder(const Shape& shape, DType type = DType::f32);
  /// Uninitialised memory for `room` elements, of which the shape takes the first.
  static Tensor with_room(const Shape& shape, std::int64_t room, DType type = DType::f32);
  static Tensor zeros(const Shape& shape, DType type = DType::f32);
  static Tensor full(const Shape& shape, double value, DType type = DType::f32);
  /// A copy of `values`. Throws ShapeError when their number does not fit the shape.
  template <class T>
  static Tensor from(const Shape& shape, std::span<const T> values);

  bool defined() const { return buffer_ != nullptr; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return type_; }
  std::int64_t elements() const { return shape_.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * bytes_per_element(type_); }

  /// The elements. Throws BugError when T is not the stored type. Null in shape-only mode.
  template <class T>
  T* data() const;
  template <class T>
  std::span<T> span() const {
    return {data<T>(), static_cast<std::size_t>(elements())};
  }
  /// The elements as float64, whatever the stored type.
  std::vector<double> to_doubles() const;
  /// The only element of a tensor of one element, as float64.
  double item() const;

  /// The same memory under another shape of equal size.
  Tensor reshaped(const Shape& shape) const;
  /// Elements that the memory holds from the first one on: at least elements().
  std::int64_t room() const;
  /// The same memory under a shape of any size that it has room for. Throws BugError where it has none.
  Tensor stretched(const Shape& shape) const;
  /// Rows [begin, end) of the first dimension, sharing memory.
  Tensor rows(std::int64_t begin, std::int64_t end) const;
  Tensor clone() const;
  /// A copy converted to another element type (the tensor itself when it has that type already).
  Tensor to(DType type) const;
  /// Overwrites the elements with those of a tensor of equal shape and type.
  void copy_from(const Tensor& other) const;
  void fill(double value) const;
  /// Equal for tensors that share memory, also where there is none (shape-only mode); null: undefined.
  const void* identity() const { return buffer_.get(); }
  /// True when no other tensor shares the memory, so that it may be overwritten.
  bool unique() const { return buffer_.use_count() == 1; }

 private:
  Tensor(std::shared_ptr<Buffer> buffer, std::size_t offset, const Shape& shape, DType type)
      : buffer_(std::move(buffer)), offset_(offset), shape_(shape), type_(type) {}
  void* raw() const;

  std::shared_ptr<Buffer> buffer_;
  std::size_t offset_ = 0;  // bytes
  Shape shape_;
  DType type_ = DType::f32;
};

using Tensors = std::vector<Tensor>;

/// Throws BugError: arithmetic on integers.
[[noreturn]] void wrong_type_for_arithmetic();

/// Calls `kernel` with a value of the element type (float{} or double{}), or not at all in shape-only mode. Every
/// computation on tensor memory goes through here. Throws BugError for other types.
template <class Kernel>
void for_real(DType type, Kernel&& kernel) {
  if (ShapeOnly::active()) return;
  if (type == DType::f32) {
    kernel(float{});
  } else if (type == DType::f64) {
    kernel(double{});
  } else {
    wrong_type_for_arithmetic();
  }
}

}  // namespace rwkvlab
