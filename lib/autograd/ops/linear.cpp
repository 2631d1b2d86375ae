// y = x Wᵀ + b;  ∂x = ∂y W;  ∂W = ∂yᵀ x;  ∂b = Σ_rows ∂y.  With W stored as [in, out]: y = x W + b;  ∂x = ∂y Wᵀ;  ∂W =
// xᵀ ∂y. In bfloat16, x, W and ∂y of the products are rounded; y, ∂x, ∂W and ∂b are float32.
#include "autograd/ops/linear.h"

#include "autograd/ops/common.h"
#include "autograd/ops/matmul.h"
#include "autograd/stored_weights.h"
#include "base/error.h"
#include "kernels/elementwise.h"

namespace rwkvlab {
namespace {

class Linear final : public Op {
 public:
  /// `input_major`: the weight is [in, out].
  explicit Linear(bool input_major) : input_major_(input_major) {}
  std::string_view name() const override { return input_major_ ? "project" : "linear"; }

  Tensors forward(const Tensors& in) override {
    const Tensor &x = in[0], &weight = in[1], &bias = in[2];
    require(x.shape().rank() >= 1 && weight.shape().rank() == 2 && x.shape()[-1] == inputs_of(weight.shape()) &&
                (!bias.defined() || bias.elements() == outputs_of(weight.shape())),
            input_major_ ? "input [..., in], weight [in, out] and bias [out] or none"
                         : "input [..., in], weight [out, in] and bias [out] or none",
            in);
    const Tensor y = Tensor::empty(x.shape().with_last(outputs_of(weight.shape())), x.dtype());
    if (StoredWeights::Survey* const survey = StoredWeights::Survey::current()) survey->note(weight, input_major_);
    if (const kernels::StoredRows* const stored = stored_weight(x, weight)) {
      kernels::row_product(*stored, x.shape().rows(), x.data<float>(), y.data<float>());
    } else {
      choose_operands(x, weight);
      multiply_into({x.shape().rows(), y.shape()[-1], x.shape()[-1]}, x_, false, weight_, !input_major_, y);
    }
    add_bias(bias, y);
    if (!wants(0)) weight_ = {};
    // The rounded copy is half as large as the input, and computing and rounding it again would cost a tenth of a step.
    if (wants(1) && !is_bfloat16_) saved_x_ = save(0, x);
    if (!wants(1) || !is_bfloat16_) x_ = {};
    bias_ = bias;
    x_shape_ = x.shape();
    weight_shape_ = weight.shape();
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor& dy = out[0];
    const std::int64_t rows = x_shape_.rows(), inputs = inputs_of(weight_shape_), outputs = outputs_of(weight_shape_);
    Tensors grads(3);
    ProductOperand gradient(dy);
    if (is_bfloat16_ && (wants(0) || wants(1))) gradient = ProductOperand::rounded(dy);
    if (wants(1)) {
      grads[1] = Tensor::empty(weight_shape_, dy.dtype());
      const ProductOperand x = kept_x();
      if (input_major_) {
        multiply_into({inputs, outputs, rows}, x, true, gradient, false, grads[1]);
      } else {
        multiply_into({outputs, inputs, rows}, gradient, true, x, false, grads[1]);
      }
    }
    if (wants(0)) {
      grads[0] = Tensor::empty(x_shape_, dy.dtype());
      multiply_into({rows, inputs, outputs}, gradient, false, weight_, input_major_, grads[0]);
    }
    if (wants(2)) {
      grads[2] = like(bias_);
      for_real(dy.dtype(), [&]<class Real>(Real) {
        kernels::sum_rows<Real>({rows, outputs}, dy.data<Real>(), grads[2].data<Real>());
      });
    }
    return grads;
  }

  // A product of low rank takes little longer than reading and writing what comes of it, which is much larger than what
  // it is made of.
  Recompute recompute(std::size_t) const override {
    constexpr std::int64_t low_rank = 64;
    const std::int64_t rank = inputs_of(weight_shape_), outputs = outputs_of(weight_shape_);
    if (rank > low_rank || outputs < 2 * rank || is_bfloat16_ || !wants(0) || !wants(1)) return {};
    return computed_once([x = saved_x_, weight = weight_, bias = bias_, shape = x_shape_.with_last(outputs), rank,
                          input_major = input_major_] {
      const Tensor y = Tensor::empty(shape, weight.values().dtype());
      multiply_into({shape.rows(), shape[-1], rank}, x.get(), false, weight, !input_major, y);
      add_bias(bias, y);
      return y;
    });
  }

 private:
  static void add_bias(const Tensor& bias, const Tensor& y) {
    if (!bias.defined()) return;
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::add_vector<Real>({y.shape().rows(), y.shape()[-1]}, y.data<Real>(), bias.data<Real>(), y.data<Real>());
    });
  }
  // What inference has stored in place of the weight; null: nothing.
  const kernels::StoredRows* stored_weight(const Tensor& x, const Tensor& weight) const {
    const StoredWeights* const all = StoredWeights::current();
    const kernels::StoredRows* const stored =
        all != nullptr && !ShapeOnly::active() ? all->find(weight, input_major_) : nullptr;
    if (stored != nullptr) {
      check_invariant(!wants_any() && x.dtype() == DType::f32, "stored weights are for inference in float32");
    }
    return stored;
  }
  void choose_operands(const Tensor& x, const Tensor& weight) {
    Bfloat16Products* const products = Bfloat16Products::current();
    is_bfloat16_ = products != nullptr && x.dtype() == DType::f32 &&
                   Bfloat16Products::reduces(inputs_of(weight.shape()), outputs_of(weight.shape()));
    x_ = is_bfloat16_ ? products->input(x) : x;
    weight_ = is_bfloat16_ ? products->weight(weight) : weight;
  }
  ProductOperand kept_x() {
    if (x_.is_bfloat16()) return std::move(x_);
    return saved_x_.get();
  }
  std::int64_t inputs_of(const Shape& weight) const { return weight[input_major_ ? 0 : 1]; }
  std::int64_t outputs_of(const Shape& weight) const { return weight[input_major_ ? 1 : 0]; }

  bool input_major_;
  bool is_bfloat16_ = false;
  ProductOperand x_, weight_;  // After forward: x_ only if kept rounded.
  Saved saved_x_;
  Shape x_shape_, weight_shape_;
  Tensor bias_;
};

}  // namespace

Var linear(const Var& x, const Var& weight, const Var& bias) { return run_op_one<Linear>({x, weight, bias}, false); }

Var project(const Var& x, const Var& weight, const Var& bias) { return run_op_one<Linear>({x, weight, bias}, true); }

}  // namespace rwkvlab
