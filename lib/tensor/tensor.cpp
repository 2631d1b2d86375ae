#include "tensor/tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.h"

namespace rwkvlab {
namespace {

// Calls `use` with a pointer to the elements of whatever type they have.
template <class Use>
void with_elements(DType type, void* data, Use&& use) {
  switch (type) {
    case DType::f32:
      return use(static_cast<float*>(data));
    case DType::f64:
      return use(static_cast<double*>(data));
    case DType::i64:
      return use(static_cast<std::int64_t*>(data));
  }
}

}  // namespace

void wrong_type_for_arithmetic() {
  throw BugError("internal error: arithmetic on a tensor of integers. Please report this.");
}

Tensor Tensor::placeholder(const Shape& shape, DType type) {
  const ShapeOnly no_memory;
  return {Buffer::allocate(0), 0, shape, type};
}

Tensor Tensor::empty(const Shape& shape, DType type) {
  const std::size_t bytes = static_cast<std::size_t>(shape.elements()) * bytes_per_element(type);
  Tensor result(Buffer::allocate(bytes), 0, shape, type);
#ifdef RWKVLAB_DEBUG_FILL
  if (type != DType::i64) result.fill(std::numeric_limits<double>::quiet_NaN());
#endif
  return result;
}

Tensor Tensor::with_room(const Shape& shape, std::int64_t room, DType type) {
  check_invariant(room >= shape.elements(), "a tensor has room for its own elements");
  return empty({room}, type).stretched(shape);
}

Tensor Tensor::zeros(const Shape& shape, DType type) {
  Tensor result = empty(shape, type);
  if (result.raw() != nullptr) std::memset(result.raw(), 0, result.bytes());
  return result;
}

Tensor Tensor::full(const Shape& shape, double value, DType type) {
  Tensor result = empty(shape, type);
  result.fill(value);
  return result;
}

template <class T>
Tensor Tensor::from(const Shape& shape, std::span<const T> values) {
  if (static_cast<std::int64_t>(values.size()) != shape.elements()) {
    throw ShapeError(fmt::format("{} values do not fill shape {}", values.size(), shape.text()));
  }
  Tensor result = empty(shape, dtype_of<T>);
  if (result.raw() != nullptr) std::copy(values.begin(), values.end(), result.data<T>());
  return result;
}

template Tensor Tensor::from<float>(const Shape&, std::span<const float>);
template Tensor Tensor::from<double>(const Shape&, std::span<const double>);
template Tensor Tensor::from<std::int64_t>(const Shape&, std::span<const std::int64_t>);

void* Tensor::raw() const {
  if (!buffer_) throw BugError("internal error: use of an undefined tensor. Please report this.");
  return buffer_->data() == nullptr ? nullptr : buffer_->data() + offset_;
}

template <class T>
T* Tensor::data() const {
  if (type_ != dtype_of<T>) {
    throw BugError(
        fmt::format("internal error: a {} tensor was read as {}. Please report this.", name(type_), name(dtype_of<T>)));
  }
  return static_cast<T*>(raw());
}

template float* Tensor::data<float>() const;
template double* Tensor::data<double>() const;
template std::int64_t* Tensor::data<std::int64_t>() const;

std::vector<double> Tensor::to_doubles() const {
  std::vector<double> values(static_cast<std::size_t>(elements()));
  with_elements(type_, raw(), [&](const auto* data) {
    std::transform(data, data + values.size(), values.begin(), [](auto x) { return static_cast<double>(x); });
  });
  return values;
}

double Tensor::item() const {
  if (elements() != 1) throw ShapeError(fmt::format("expected one element, found shape {}", shape_.text()));
  double value = 0;
  with_elements(type_, raw(), [&](const auto* data) { value = static_cast<double>(*data); });
  return value;
}

Tensor Tensor::reshaped(const Shape& shape) const {
  if (shape.elements() != elements()) {
    throw ShapeError(fmt::format("shape {} cannot be viewed as {}", shape_.text(), shape.text()));
  }
  return Tensor(buffer_, offset_, shape, type_);
}

std::int64_t Tensor::room() const {
  return static_cast<std::int64_t>((buffer_->bytes() - offset_) / bytes_per_element(type_));
}

Tensor Tensor::stretched(const Shape& shape) const {
  check_invariant(shape.elements() <= room(), "a tensor grows within its memory");
  return Tensor(buffer_, offset_, shape, type_);
}

Tensor Tensor::rows(std::int64_t begin, std::int64_t end) const {
  if (shape_.rank() == 0 || begin < 0 || end < begin || end > shape_[0]) {
    throw ShapeError(fmt::format("rows {} to {} of shape {}", begin, end, shape_.text()));
  }
  std::vector<std::int64_t> sizes(shape_.sizes().begin(), shape_.sizes().end());
  const std::int64_t row = shape_[0] == 0 ? 0 : elements() / shape_[0];
  sizes[0] = end - begin;
  return Tensor(buffer_, offset_ + static_cast<std::size_t>(begin * row) * bytes_per_element(type_), Shape(sizes),
                type_);
}

Tensor Tensor::clone() const {
  Tensor result = empty(shape_, type_);
  result.copy_from(*this);
  return result;
}

Tensor Tensor::to(DType type) const {
  if (type == type_) return *this;
  Tensor result = empty(shape_, type);
  if (result.raw() == nullptr) return result;
  with_elements(type_, raw(), [&](const auto* from) {
    with_elements(type, result.raw(), [&](auto* into) {
      using Into = std::remove_pointer_t<decltype(into)>;
      std::transform(from, from + elements(), into, [](auto x) { return static_cast<Into>(x); });
    });
  });
  return result;
}

void Tensor::copy_from(const Tensor& other) const {
  if (other.shape_ != shape_ || other.type_ != type_) {
    throw ShapeError(fmt::format("cannot copy {} {} into {} {}", name(other.type_), other.shape_.text(), name(type_),
                                 shape_.text()));
  }
  if (raw() != nullptr && bytes() > 0) std::memcpy(raw(), other.raw(), bytes());
}

void Tensor::fill(double value) const {
  if (raw() == nullptr) return;
  with_elements(type_, raw(), [&](auto* data) {
    using T = std::remove_pointer_t<decltype(data)>;
    std::fill_n(data, elements(), static_cast<T>(value));
  });
}

}  // namespace rwkvlab
