// C = op(A) op(B). With A' = op(A), B' = op(B):  ∂A' = ∂C B'ᵀ,  ∂B' = A'ᵀ ∂C, each transposed back where op transposes.
#include "autograd/ops/matmul.h"

#include "autograd/ops/common.h"
#include "base/error.h"
#include "kernels/matmul.h"

namespace rwkvlab {
namespace {

void run(const kernels::MatmulCall& call, const Tensor& a, const Tensor& b, const Tensor& c) {
  if (ShapeOnly::active()) return kernels::note_matmul(call);
  for_real(c.dtype(), [&]<class Real>(Real) {
    kernels::batched_matmul<Real>(call, a.data<Real>(), b.data<Real>(), c.data<Real>());
  });
}

// The product of stored matrices x and y, batch-wise; each is transposed where flagged.
Tensor product(const Tensor& x, bool transpose_x, const Tensor& y, bool transpose_y) {
  kernels::MatmulCall call;
  call.batch = x.shape()[0];
  call.m = x.shape()[transpose_x ? 2 : 1];
  call.k = x.shape()[transpose_x ? 1 : 2];
  call.n = y.shape()[transpose_y ? 1 : 2];
  call.transpose_a = transpose_x;
  call.transpose_b = transpose_y;
  call.stride_a = call.m * call.k;
  call.stride_b = call.k * call.n;
  call.stride_c = call.m * call.n;
  Tensor result = Tensor::empty({call.batch, call.m, call.n}, x.dtype());
  run(call, x, y, result);
  return result;
}

class Matmul final : public Op {
 public:
  Matmul(bool transpose_a, bool transpose_b) : transpose_a_(transpose_a), transpose_b_(transpose_b) {}
  std::string_view name() const override { return "matmul"; }

  Tensors forward(const Tensors& in) override {
    const Shape &a = in[0].shape(), &b = in[1].shape();
    require(a.rank() == 3 && b.rank() == 3 && a[0] == b[0] && a[transpose_a_ ? 1 : 2] == b[transpose_b_ ? 2 : 1],
            "two batches of matrices whose inner sizes agree", in);
    if (wants_any()) a_ = save(0, in[0]), b_ = save(1, in[1]);
    inner_ = a[transpose_a_ ? 1 : 2];
    return {product(in[0], transpose_a_, in[1], transpose_b_)};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor& dc = out[0];
    Tensors grads(2);
    if (wants(0)) {
      const Tensor b = b_.get();
      grads[0] = transpose_a_ ? product(b, transpose_b_, dc, true) : product(dc, false, b, !transpose_b_);
    }
    if (wants(1)) {
      const Tensor a = a_.get();
      grads[1] = transpose_b_ ? product(dc, true, a, transpose_a_) : product(a, !transpose_a_, dc, false);
    }
    return grads;
  }

  // A product of low rank takes little longer than reading and writing what comes of it.
  Recompute recompute(std::size_t) const override {
    constexpr std::int64_t low_rank = 64;
    if (inner_ > low_rank) return {};
    return computed_once([a = a_, b = b_, transpose_a = transpose_a_, transpose_b = transpose_b_] {
      return product(a.get(), transpose_a, b.get(), transpose_b);
    });
  }

 private:
  bool transpose_a_, transpose_b_;
  std::int64_t inner_ = 0;
  Saved a_, b_;
};

}  // namespace

Var matmul(const Var& a, const Var& b, bool transpose_a, bool transpose_b) {
  return run_op_one<Matmul>({a, b}, transpose_a, transpose_b);
}

void multiply_into(const ProductSize& size, const ProductOperand& a, bool transpose_a, const ProductOperand& b,
                   bool transpose_b, const Tensor& c, bool accumulate) {
  const kernels::MatmulCall call = {.m = size.m,
                                    .n = size.n,
                                    .k = size.k,
                                    .transpose_a = transpose_a,
                                    .transpose_b = transpose_b,
                                    .accumulate = accumulate,
                                    .bfloat16 = a.is_bfloat16()};
  check_invariant(a.is_bfloat16() == b.is_bfloat16(), "both operands of a product are of one type");
  if (!a.is_bfloat16()) return run(call, a.values(), b.values(), c);
  if (ShapeOnly::active()) return kernels::note_matmul(call);
  kernels::batched_matmul(call, a.bfloat16(), b.bfloat16(), c.data<float>());
}

}  // namespace rwkvlab
