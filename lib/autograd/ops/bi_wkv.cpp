// Gradients: kernels/bi_wkv.h. Of the forward pass its inputs are kept alone.
#include "autograd/ops/bi_wkv.h"

#include "autograd/ops/common.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/image_tokens.h"
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
    note_flops(kernels::bi_wkv_flops(size_of(k), false));
    for_real(k.dtype(), [&]<class Real>(Real) {
      const kernels::BiWkvInputs<Real> inputs = kernel_inputs<Real>(in);
      form_ == BiWkvForm::official_cuda ? kernels::bi_wkv_official_cuda_forward(inputs, y.data<Real>())
                                        : kernels::bi_wkv_forward(inputs, y.data<Real>());
    });
    if (wants_any()) inputs_ = in;
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const Tensors grads = {like(inputs_[0]), like(inputs_[1]), like(inputs_[2]), like(inputs_[3])};
    note_flops(kernels::bi_wkv_flops(size_of(inputs_[2]), true));
    for_real(out[0].dtype(), [&]<class Real>(Real) {
      const kernels::BiWkvInputs<Real> inputs = kernel_inputs<Real>(inputs_);
      const kernels::BiWkvGradients<Real> gradients = {out[0].data<Real>(), grads[0].data<Real>(),
                                                       grads[1].data<Real>(), grads[2].data<Real>(),
                                                       grads[3].data<Real>()};
      form_ == BiWkvForm::official_cuda ? kernels::bi_wkv_official_cuda_backward(inputs, gradients)
                                        : kernels::bi_wkv_backward(inputs, gradients);
    });
    return grads;
  }

 private:
  static kernels::SequenceSize size_of(const Tensor& k) { return {k.shape()[0], k.shape()[1], k.shape()[2]}; }
  template <class Real>
  kernels::BiWkvInputs<Real> kernel_inputs(const Tensors& in) const {
    return {size_of(in[2]),     in[0].data<Real>(), in[1].data<Real>(),
            in[2].data<Real>(), in[3].data<Real>(), form_ == BiWkvForm::causal};
  }

  BiWkvForm form_;
  Tensors inputs_;
};

}  // namespace

Var bi_wkv(const Var& decay, const Var& first, const Var& k, const Var& v, BiWkvForm form) {
  return run_op_one<BiWkv>({decay, first, k, v}, form);
}

Var bi_wkv6(const BiWkv6Inputs& in) {
  Wkv6Inputs forwards = {in.receptance, in.key, in.value, in.decay, in.bonus, {}, in.head_size};
  const Var from_left = wkv6(forwards, false).y;
  // The same scan over the tokens in the opposite order, without the current one.
  std::vector<std::int64_t> order;
  for (std::int64_t t = in.key.shape()[1] - 1; t >= 0; --t) order.push_back(t);
  const Wkv6Inputs backwards = {reorder_tokens(in.receptance, order),
                                reorder_tokens(in.key, order),
                                reorder_tokens(in.value, order),
                                reorder_tokens(in.decay, order),
                                Var(Tensor::zeros(in.bonus.shape(), in.bonus.dtype())),
                                {},
                                in.head_size};
  return add(from_left, reorder_tokens(wkv6(backwards, false).y, order));
}

}  // namespace rwkvlab
