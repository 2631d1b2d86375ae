// The gradient of the division is in kernels/columns.h.
#include "autograd/ops/linear_attention.h"

#include "autograd/ops/common.h"
#include "autograd/ops/wkv7.h"
#include "kernels/columns.h"

namespace rwkvlab {
namespace {

class AppendOnes final : public Op {
 public:
  explicit AppendOnes(std::int64_t heads) : heads_(heads) {}
  std::string_view name() const override { return "append_ones"; }

  Tensors forward(const Tensors& in) override {
    shape_ = in[0].shape();
    require(shape_.rank() >= 1 && heads_ >= 1 && shape_[-1] > 0 && shape_[-1] % heads_ == 0,
            "input [..., channels] whose channels the heads divide", in);
    const Tensor y = Tensor::empty(shape_.with_last(shape_[-1] + heads_), in[0].dtype());
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::copy_columns<Real>(rows(), width(), in[0].data<Real>(), width(), y.data<Real>(), width() + 1);
      kernels::fill_column<Real>(rows(), 1, y.data<Real>() + width(), width() + 1);
    });
    return {y};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor grad = Tensor::empty(shape_, out[0].dtype());
    for_real(grad.dtype(), [&]<class Real>(Real) {
      kernels::copy_columns<Real>(rows(), width(), out[0].data<Real>(), width() + 1, grad.data<Real>(), width());
    });
    return {grad};
  }

 private:
  std::int64_t rows() const { return shape_.rows() * heads_; }
  std::int64_t width() const { return shape_[-1] / heads_; }
  std::int64_t heads_;
  Shape shape_;
};

class DivideByLast final : public Op {
 public:
  DivideByLast(std::int64_t heads, double epsilon) : heads_(heads), epsilon_(epsilon) {}
  std::string_view name() const override { return "divide_by_last"; }

  Tensors forward(const Tensors& in) override {
    const Shape& shape = in[0].shape();
    require(shape.rank() >= 1 && heads_ >= 1 && shape[-1] > heads_ && shape[-1] % heads_ == 0,
            "input [..., channels] whose channels the heads divide, two or more for each", in);
    size_ = {shape.rows() * heads_, shape[-1] / heads_ - 1};
    const Tensor y = Tensor::empty(shape.with_last(shape[-1] - heads_), in[0].dtype());
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::divide_by_last_forward<Real>(size_, epsilon_, in[0].data<Real>(), y.data<Real>());
    });
    if (wants_any()) x_ = save(0, in[0]);
    return {y};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor x = x_.get(), grad = like(x);
    for_real(x.dtype(), [&]<class Real>(Real) {
      kernels::divide_by_last_backward<Real>(size_, epsilon_, x.data<Real>(), out[0].data<Real>(), grad.data<Real>());
    });
    return {grad};
  }

 private:
  std::int64_t heads_;
  double epsilon_;
  kernels::RowsSize size_;
  Saved x_;
};

}  // namespace

Var append_ones(const Var& x, std::int64_t heads) { return run_op_one<AppendOnes>({x}, heads); }

Var divide_by_last(const Var& x, std::int64_t heads, double epsilon) {
  return run_op_one<DivideByLast>({x}, heads, epsilon);
}

LinearAttentionResult linear_attention(const LinearAttentionInputs& in, std::int64_t heads, double epsilon,
                                       bool wants_final_state) {
  const Wkv7Inputs inputs = {in.query, {}, in.key, append_ones(in.value, heads), {}, {}};
  const Wkv7Result sums = wkv7(inputs, in.state, heads, wants_final_state);
  return {divide_by_last(sums.y, heads, epsilon), sums.final_state};
}

}  // namespace rwkvlab
