// Gradients: kernels/bi_wkv.h. Beside the inputs, y and the inverse of its denominator are kept, and what every chunk
// of tokens starts from. (The official form keeps its inputs alone.)
#include "autograd/ops/bi_wkv.h"

#include "autograd/ops/common.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/wkv6.h"
#include "autograd/profiler.h"
#include "kernels/bi_wkv.h"
#include "kernels/recurrence_flops.h"

namespace rwkvlab {
namespace {

// Inputs: decay, first, k, v.
class BiWkv final : public Op {
 public:
  explicit BiWkv(BiWkvForm form) : form_(form) {}
  std::string_view name() const override { return "bi_wkv"; }

  Tensors forward(const Tensors& in) override {
    const Tensor &k = in[2], &v = in[3];
    require(k.shape().rank() == 3 && v.shape() == k.shape(), "key and value [batch, tokens, channels]", in);
    require(in[0].elements() == k.shape()[2] && in[1].elements() == k.shape()[2], "decay and first [channels]", in);
    const Tensor y = like(k);
    if (wants_any()) keep(in, y);
    note_flops(kernels::bi_wkv_flops(size_of(k), false));
    for_real(k.dtype(), [&]<class Real>(Real) {
      const kernels::BiWkvInputs<Real> inputs = kernel_inputs<Real>(in);
      if (form_ == BiWkvForm::official_cuda) return kernels::bi_wkv_official_cuda_forward(inputs, y.data<Real>());
      kernels::bi_wkv_forward(inputs, y.data<Real>(), trace<Real>());
    });
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const auto over = [&](const Tensor& kept) { return kept.defined() ? reuse_or_new(kept) : like(inputs_[2]); };
    const Tensors grads = {like(inputs_[0]), like(inputs_[1]), over(inverse_), over(y_)};
    note_flops(kernels::bi_wkv_flops(size_of(inputs_[2]), true));
    for_real(out[0].dtype(), [&]<class Real>(Real) {
      const kernels::BiWkvInputs<Real> inputs = kernel_inputs<Real>(inputs_);
      const kernels::BiWkvGradients<Real> gradients = {data_or_null<Real>(y_), out[0].data<Real>(),
                                                       grads[0].data<Real>(),  grads[1].data<Real>(),
                                                       grads[2].data<Real>(),  grads[3].data<Real>()};
      form_ == BiWkvForm::official_cuda ? kernels::bi_wkv_official_cuda_backward(inputs, gradients)
                                        : kernels::bi_wkv_backward(inputs, trace<Real>(), gradients);
    });
    return grads;
  }

 private:
  static kernels::SequenceSize size_of(const Tensor& k) { return {k.shape()[0], k.shape()[1], k.shape()[2]}; }
  void keep(const Tensors& in, const Tensor& y) {
    inputs_ = in;
    if (form_ == BiWkvForm::official_cuda) return;
    y_ = y;
    inverse_ = like(y);
    const kernels::SequenceSize size = size_of(y);
    starts_ = Buffer::allocate(y.dtype() == DType::f64 ? kernels::bi_wkv_start_bytes<double>(size)
                                                       : kernels::bi_wkv_start_bytes<float>(size));
  }
  template <class Real>
  kernels::BiWkvInputs<Real> kernel_inputs(const Tensors& in) const {
    return {size_of(in[2]),     in[0].data<Real>(), in[1].data<Real>(),
            in[2].data<Real>(), in[3].data<Real>(), form_ == BiWkvForm::causal};
  }
  template <class Real>
  kernels::BiWkvTrace<Real> trace() const {
    return {data_or_null<Real>(inverse_), starts_ != nullptr ? starts_->data() : nullptr};
  }

  BiWkvForm form_;
  Tensors inputs_;
  Tensor y_, inverse_;
  std::shared_ptr<Buffer> starts_;
};

}  // namespace

Var bi_wkv(const Var& decay, const Var& first, const Var& k, const Var& v, BiWkvForm form) {
  return run_op_one<BiWkv>({decay, first, k, v}, form);
}

Var bi_wkv6(const BiWkv6Inputs& in) {
  Wkv6Inputs scan = {in.receptance, in.key, in.value, in.decay, in.bonus, {}, in.head_size};
  const Var from_left = wkv6(scan, false).y;
  // The other scan leaves the current token out.
  scan.bonus = Var(Tensor::zeros(in.bonus.shape(), in.bonus.dtype()));
  scan.is_reversed = true;
  return add(from_left, wkv6(scan, false).y);
}

}  // namespace rwkvlab
