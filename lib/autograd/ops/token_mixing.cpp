#include "autograd/ops/token_mixing.h"

#include "autograd/ops/common.h"
#include "kernels/elementwise.h"
#include "kernels/token_shift.h"

namespace rwkvlab {
namespace {

kernels::SequenceSize size_of(const Tensor& x) { return {x.shape()[0], x.shape()[1], x.shape()[2]}; }

template <class Pointer>
std::vector<Pointer> pointers(const Tensors& tensors) {
  std::vector<Pointer> result;
  result.reserve(tensors.size());
  for (const Tensor& tensor : tensors)
    result.push_back(data_or_null<std::remove_const_t<std::remove_pointer_t<Pointer>>>(tensor));
  return result;
}

// offset - x, the complement of a weight or the gradient of one.
void subtract_from(double offset, const Tensor& x, const Tensor& into) {
  for_real(x.dtype(), [&]<class Real>(Real) {
    kernels::scale<Real>(x.elements(), x.data<Real>(), -1.0, offset, into.data<Real>());
  });
}

}  // namespace

const char* TokenMixing::unfit(const Tensor& x, const Tensor& previous, const Tensors& mixes) const {
  if (x.shape().rank() != 3 || mixes.empty() || mixes.size() > kernels::max_token_mixes) {
    return "input [batch, time, channels] and mixes";
  }
  if (previous.defined() && previous.shape() != Shape{x.shape()[0], x.shape()[2]}) {
    return "a carried token [batch, channels]";
  }
  for (const Tensor& mix : mixes) {
    if (mix.elements() != x.shape()[2]) return "one mix weight per channel";
  }
  if (shift_ && (shift_->tokens() != x.shape()[1] || shift_->width() != x.shape()[2] || previous.defined())) {
    return "the tokens and channels of the token shift, and no carried token";
  }
  return nullptr;
}

void TokenMixing::set(const Tensor& previous, const Tensors& mixes) {
  previous_ = previous;
  mixes_ = mixes;
  if (weighs_ == MixedToken::current) return;
  for (Tensor& mix : mixes_) {
    const Tensor complement = like(mix);
    subtract_from(1, mix, complement);
    mix = complement;
  }
}

Tensors TokenMixing::blends(const Tensor& x) const { return blends_of(mixes_, x); }

Tensor TokenMixing::blend(std::size_t j, const Tensor& x) const { return blends_of({mixes_[j]}, x)[0]; }

Tensors TokenMixing::blends_of(const Tensors& mixes, const Tensor& x) const {
  Tensors outputs;
  for (std::size_t i = 0; i < mixes.size(); ++i) outputs.push_back(like(x));
  for_real(x.dtype(), [&]<class Real>(Real) {
    kernels::token_mix_forward<Real>(size_of(x), x.data<Real>(), data_or_null<Real>(previous_),
                                     pointers<const Real*>(mixes), pointers<Real*>(outputs), shift());
  });
  return outputs;
}

Tensors TokenMixing::backward(const Tensor& x, const Tensors& blend_grads, bool wants_x, bool wants_previous) const {
  const Tensor grad_x = wants_x ? like(x) : Tensor();
  const Tensor grad_previous = wants_previous ? like(previous_) : Tensor();
  Tensors grad_mixes;
  for (const Tensor& mix : mixes_) grad_mixes.push_back(like(mix));
  for_real(x.dtype(), [&]<class Real>(Real) {
    kernels::token_mix_backward<Real>(size_of(x), x.data<Real>(), data_or_null<Real>(previous_),
                                      pointers<const Real*>(mixes_), pointers<const Real*>(blend_grads),
                                      data_or_null<Real>(grad_x), data_or_null<Real>(grad_previous),
                                      pointers<Real*>(grad_mixes), shift());
  });
  Tensors grads = {grad_x, grad_previous};
  for (const Tensor& grad : grad_mixes) {
    if (weighs_ == MixedToken::previous) subtract_from(0, grad, grad);
    grads.push_back(grad);
  }
  return grads;
}

}  // namespace rwkvlab
