// The equations and their gradients are in kernels/aft.h.
#include "autograd/ops/aft.h"

#include "autograd/ops/common.h"
#include "kernels/aft.h"

namespace rwkvlab {
namespace {

// Inputs bias, key, value.
class Aft final : public Op {
 public:
  explicit Aft(std::int64_t queries) : queries_(queries) {}
  std::string_view name() const override { return "aft"; }

  Tensors forward(const Tensors& in) override {
    const Shape &bias = in[0].shape(), &key = in[1].shape();
    require(key.rank() == 3 && in[2].shape() == key && bias.rank() == 2 && bias[0] == bias[1] && bias[0] >= key[1] &&
                queries_ >= 1 && queries_ <= key[1],
            "bias [length, length], key and value [batch, keys, channels], at most `length` keys and no more queries "
            "than keys",
            in);
    size_ = {key[0], queries_, key[1], key[2], bias[0]};
    const Tensor y = Tensor::empty({key[0], queries_, key[2]}, in[1].dtype()), log_sum = like(y);
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::aft_forward<Real>(
          {size_, in[0].data<Real>(), in[1].data<Real>(), in[2].data<Real>(), y.data<Real>(), log_sum.data<Real>()});
    });
    if (wants_any()) {
      bias_ = in[0], key_ = save(1, in[1]), value_ = save(2, in[2]);
      y_ = y, log_sum_ = log_sum;
    }
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor key = key_.get(), value = value_.get();
    Tensors grads = {like(bias_), like(key), like(value)};
    for_real(key.dtype(), [&]<class Real>(Real) {
      kernels::aft_backward<Real>({size_, bias_.data<Real>(), key.data<Real>(), value.data<Real>(), y_.data<Real>(),
                                   log_sum_.data<Real>(), out[0].data<Real>(), grads[0].data<Real>(),
                                   grads[1].data<Real>(), grads[2].data<Real>()});
    });
    return grads;
  }

 private:
  std::int64_t queries_;
  kernels::AftSize size_;
  Saved key_, value_;
  Tensor bias_, y_, log_sum_;
};

}  // namespace

Var aft(const Var& bias, const Var& key, const Var& value, std::int64_t queries) {
  return run_op_one<Aft>({bias, key, value}, queries);
}

Wkv4Result aft_simple(const Var& key, const Var& value, const Var& state, bool wants_final_state) {
  const std::int64_t channels = key.shape().rank() > 0 ? key.shape()[-1] : 0;
  const Tensor time_decay = Tensor::empty({channels}, key.dtype());
  time_decay.fill(-1e9);  // The decay is exp(time_decay), exactly 0.
  return wkv4(Var(time_decay), Var(Tensor::zeros({channels}, key.dtype())), key, value, state, wants_final_state);
}

}  // namespace rwkvlab
