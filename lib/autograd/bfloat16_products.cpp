#include "autograd/bfloat16_products.h"

#include <algorithm>

namespace rwkvlab {
namespace {

thread_local Bfloat16Products* newest = nullptr;

}  // namespace

ProductOperand ProductOperand::rounded(const Tensor& values) {
  ProductOperand result = empty(values.shape(), values.dtype(), true);
  if (!ShapeOnly::active()) {
    kernels::round_to_bfloat16(values.elements(), values.data<float>(), result.bfloat16());
  }
  return result;
}

ProductOperand ProductOperand::empty(const Shape& shape, DType type, bool is_bfloat16) {
  ProductOperand result;
  if (is_bfloat16) {
    result.rounded_ = Buffer::allocate(static_cast<std::size_t>(shape.elements()) * sizeof(kernels::Bfloat16));
  } else {
    result.values_ = Tensor::empty(shape, type);
  }
  return result;
}

kernels::Bfloat16* ProductOperand::bfloat16() const { return reinterpret_cast<kernels::Bfloat16*>(rounded_->data()); }

Bfloat16Products::Bfloat16Products(bool active) : active_(active), previous_(newest) { newest = this; }
Bfloat16Products::~Bfloat16Products() { newest = previous_; }
Bfloat16Products* Bfloat16Products::current() { return newest != nullptr && newest->active_ ? newest : nullptr; }

// Without memory no two tensors can be told to be one.
bool Bfloat16Products::is_of(const Copy& copy, const Tensor& source) {
  return !ShapeOnly::active() && copy.source.defined() && copy.source.elements() == source.elements() &&
         copy.source.data<float>() == source.data<float>();
}

ProductOperand Bfloat16Products::weight(const Tensor& weight) {
  const auto found = std::find_if(weights_.begin(), weights_.end(), [&](const Copy& c) { return is_of(c, weight); });
  if (found != weights_.end()) return found->rounded;
  weights_.push_back({weight, ProductOperand::rounded(weight)});
  return weights_.back().rounded;
}

ProductOperand Bfloat16Products::input(const Tensor& x) {
  if (!is_of(input_, x)) {
    input_ = {};  // First, so that old and new do not exist together.
    input_ = {x, ProductOperand::rounded(x)};
  }
  return input_.rounded;
}

}  // namespace rwkvlab
