// y[b, ...] = x[...];  ∂x = Σ_b ∂y[b], in the order of b.
#include "autograd/ops/broadcast.h"

#include "kernels/elementwise.h"

namespace rwkvlab {
namespace {

class ForEverySequence final : public Op {
 public:
  explicit ForEverySequence(std::int64_t batch) : batch_(batch) {}
  std::string_view name() const override { return "for_every_sequence"; }

  Tensors forward(const Tensors& in) override {
    require(batch_ >= 0, "a batch that is not negative", in);
    shape_ = in[0].shape();
    std::vector<std::int64_t> sizes = {batch_};
    sizes.insert(sizes.end(), shape_.sizes().begin(), shape_.sizes().end());
    const Tensor y = Tensor::empty(Shape(sizes), in[0].dtype());
    for_real(y.dtype(), [&]<class Real>(Real) {
      for (std::int64_t b = 0; b < batch_; ++b) {
        kernels::copy<Real>(shape_.elements(), in[0].data<Real>(), y.data<Real>() + b * shape_.elements());
      }
    });
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor dx = Tensor::empty(shape_, out[0].dtype());
    for_real(dx.dtype(), [&]<class Real>(Real) {
      kernels::sum_rows<Real>({batch_, shape_.elements()}, out[0].data<Real>(), dx.data<Real>());
    });
    return {dx};
  }

 private:
  std::int64_t batch_;
  Shape shape_;
};

}  // namespace

Var for_every_sequence(const Var& x, std::int64_t batch) { return run_op_one<ForEverySequence>({x}, batch); }

}  // namespace rwkvlab
