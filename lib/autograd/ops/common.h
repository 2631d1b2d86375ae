// Small helpers that several operations share.
#pragma once

#include "autograd/var.h"

namespace rwkvlab {

/// `grad` itself when nobody else holds its memory, so that a result may be written over it; else a new tensor like it.
inline Tensor reuse_or_new(const Tensor& grad) {
  return grad.unique() ? grad : Tensor::empty(grad.shape(), grad.dtype());
}

/// `recompute`, run at the first call only: the value stays until the last copy of what is returned is gone. For values
/// that several operations keep.
inline Recompute computed_once(Recompute recompute) {
  return [recompute = std::move(recompute), value = std::make_shared<Tensor>()] {
    if (!value->defined()) *value = recompute();
    return *value;
  };
}

inline Tensor like(const Tensor& other) { return Tensor::empty(other.shape(), other.dtype()); }

/// The elements, or null for an undefined tensor.
template <class Real>
Real* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? tensor.data<Real>() : nullptr;
}

}  // namespace rwkvlab
