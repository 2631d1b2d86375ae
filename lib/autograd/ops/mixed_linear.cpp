// y_j = b_j W_jᵀ, b_j the blends of token_mixing.h;  ∂W_j = ∂y_jᵀ b_j;  ∂b_j = ∂y_j W_j;  and the gradients of
// token_mix from those of b_j. The blends are made again for ∂W_j. In bfloat16, b_j, W_j and ∂y_j are rounded, and the
// rounded blends are kept; sums are float32.
#include "autograd/ops/mixed_linear.h"

#include <algorithm>

#include "autograd/ops/common.h"
#include "autograd/ops/matmul.h"
#include "autograd/ops/token_mixing.h"
#include "base/error.h"
#include "kernels/mixed_products.h"

namespace rwkvlab {
namespace {

// Inputs: x, previous, mixes..., weights...
class MixedLinear final : public Op {
 public:
  MixedLinear(MixedToken weighs, const TokenShift* shift, std::size_t count) : mixing_(weighs, shift), count_(count) {}
  std::string_view name() const override { return "mixed_linear"; }

  Tensors forward(const Tensors& in) override {
    const Tensor& x = in[0];
    const Tensors mixes(in.begin() + first_mix, in.begin() + first_mix + static_cast<std::ptrdiff_t>(count_));
    if (const char* const expected = mixing_.unfit(x, in[1], mixes)) fail_shapes(expected, in);
    mixing_.set(in[1], mixes);
    weights_.assign(in.begin() + first_mix + static_cast<std::ptrdiff_t>(count_), in.end());
    for (const Tensor& weight : weights_) {
      require(weight.shape().rank() == 2 && weight.shape()[1] == x.shape()[2], "weights [outputs, channels]", in);
    }
    x_shape_ = x.shape();
    choose_operands(x.dtype());
    Tensors y;
    for (const Tensor& weight : weights_) y.push_back(Tensor::empty(x_shape_.with_last(weight.shape()[0]), x.dtype()));
    if (is_bfloat16_) {
      compute<kernels::Bfloat16>(x, y);
    } else if (x.dtype() == DType::f64) {
      compute<double>(x, y);
    } else {
      if (x.dtype() != DType::f32) wrong_type_for_arithmetic();
      compute<float>(x, y);
    }
    if (wants_any()) x_ = save(0, x);
    return y;
  }

  Tensors backward(const Tensors& out) override {
    const Tensor x = x_.get();
    Tensors grads(first_mix + 2 * count_), blend_grads(count_);
    for (std::size_t j = 0; j < count_; ++j) {
      if (!out[j].defined()) continue;
      const std::int64_t rows = x_shape_.rows(), channels = x_shape_[2], outputs = weights_[j].shape()[0];
      const ProductOperand gradient = is_bfloat16_ ? ProductOperand::rounded(out[j]) : ProductOperand(out[j]);
      if (wants(first_mix + count_ + j)) {
        const ProductOperand blend = is_bfloat16_ ? std::move(blends_[j]) : ProductOperand(mixing_.blend(j, x));
        grads[first_mix + count_ + j] = Tensor::empty(weights_[j].shape(), x.dtype());
        multiply_into({outputs, channels, rows}, gradient, true, blend, false, grads[first_mix + count_ + j]);
      }
      if (!wants_blends()) continue;
      blend_grads[j] = Tensor::empty(x_shape_, x.dtype());
      multiply_into({rows, channels, outputs}, gradient, false, operands_[j], false, blend_grads[j]);
    }
    if (!wants_blends()) return grads;
    Tensors mixed = mixing_.backward(x, blend_grads, wants(0), wants(1));
    std::move(mixed.begin(), mixed.end(), grads.begin());
    return grads;
  }

 private:
  static constexpr std::size_t first_mix = 2;

  // Whether gradients go beyond the weights of the products.
  bool wants_blends() const {
    for (std::size_t i = 0; i < first_mix + count_; ++i) {
      if (wants(i)) return true;
    }
    return false;
  }

  void choose_operands(DType type) {
    Bfloat16Products* const products = Bfloat16Products::current();
    is_bfloat16_ = products != nullptr && type == DType::f32 &&
                   std::all_of(weights_.begin(), weights_.end(), [](const Tensor& weight) {
                     return Bfloat16Products::reduces(weight.shape()[1], weight.shape()[0]);
                   });
    blends_.resize(count_);
    for (std::size_t j = 0; j < count_; ++j) {
      operands_.push_back(is_bfloat16_ ? products->weight(weights_[j]) : ProductOperand(weights_[j]));
      if (is_bfloat16_ && wants(first_mix + count_ + j)) blends_[j] = ProductOperand::empty(x_shape_, type, true);
    }
  }

  template <class Operand>
  void compute(const Tensor& x, const Tensors& y) const {
    using Real = typename kernels::MixedProducts<Operand>::Real;
    std::vector<const Real*> mixes;
    std::vector<const Operand*> weights;
    std::vector<Operand*> blends;
    std::vector<Real*> results;
    std::vector<kernels::Index> outputs;
    kernels::MixedProducts<Operand> call;
    call.size = {x_shape_[0], x_shape_[1], x_shape_[2]};
    for (std::size_t j = 0; j < count_; ++j) outputs.push_back(weights_[j].shape()[0]);
    call.outputs = outputs;
    if (ShapeOnly::active()) {
      for (const kernels::MatmulCall& product : call.products()) kernels::note_matmul(product);
      return;
    }
    for (std::size_t j = 0; j < count_; ++j) {
      mixes.push_back(mixing_.mixes()[j].data<Real>());
      weights.push_back(operands_[j].data<Operand>());
      blends.push_back(blends_[j].is_bfloat16() ? blends_[j].data<Operand>() : nullptr);
      results.push_back(y[j].data<Real>());
    }
    call.x = x.data<Real>();
    call.previous = data_or_null<Real>(mixing_.previous());
    call.shift = mixing_.shift();
    call.mixes = mixes;
    call.weights = weights;
    kernels::mixed_products<Operand>(call, blends, results);
  }

  TokenMixing mixing_;
  std::size_t count_;
  bool is_bfloat16_ = false;
  Shape x_shape_;
  Saved x_;
  Tensors weights_;
  std::vector<ProductOperand> operands_;  // the weights, rounded if products are
  std::vector<ProductOperand> blends_;    // kept if rounded
};

}  // namespace

std::vector<Var> mixed_linear(const Var& x, const Var& previous, const std::vector<Var>& mixes,
                              const std::vector<Var>& weights, MixedToken weighs, const TokenShift* shift) {
  check_invariant(mixes.size() == weights.size(), "a linear layer for every blend");
  std::vector<Var> inputs = {x, previous};
  inputs.insert(inputs.end(), mixes.begin(), mixes.end());
  inputs.insert(inputs.end(), weights.begin(), weights.end());
  return run_op(std::make_unique<MixedLinear>(weighs, shift, mixes.size()), inputs);
}

}  // namespace rwkvlab
