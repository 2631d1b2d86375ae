// h = f(x Wkᵀ), y = h Wvᵀ;  g = (∂y Wv) ⊙ f'(x Wkᵀ);  ∂x = g Wk;  ∂Wk = gᵀ x;  ∂Wv = ∂yᵀ h. f' is computed from h. In
// bfloat16, x, Wk, h, Wv, ∂y and g are rounded; sums are float32.
#include "autograd/ops/feed_forward.h"

#include "autograd/ops/common.h"
#include "autograd/ops/matmul.h"
#include "kernels/feed_forward.h"

namespace rwkvlab {
namespace {

class FeedForward final : public Op {
 public:
  explicit FeedForward(Activation kind) : kind_(kind) {}
  std::string_view name() const override { return "feed_forward"; }

  Tensors forward(const Tensors& in) override {
    const Tensor &x = in[0], &key = in[1], &value = in[2];
    require(x.shape().rank() >= 1 && key.shape().rank() == 2 && value.shape().rank() == 2 &&
                x.shape()[-1] == key.shape()[1] && key.shape()[0] == value.shape()[1],
            "input [..., inputs], key [hidden, inputs] and value [outputs, hidden]", in);
    x_shape_ = x.shape();
    key_shape_ = key.shape();
    value_shape_ = value.shape();
    choose_operands(x, key, value);
    hidden_ = ProductOperand::empty(hidden_shape(), x.dtype(), is_bfloat16_);
    const Tensor y = Tensor::empty(x_shape_.with_last(value_shape_[0]), x.dtype());
    run(x.dtype(), [&]<class Operand>(const kernels::FeedForward<Operand>& layer) {
      if (ShapeOnly::active()) return note(layer.forward_products());
      kernels::feed_forward(layer, x_.data<Operand>(), hidden_.data<Operand>(),
                            y.data<typename kernels::FeedForward<Operand>::Real>());
    });
    keep(x);
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor& dy = out[0];
    Tensors grads(3);
    const ProductOperand dy_operand = is_bfloat16_ ? ProductOperand::rounded(dy) : ProductOperand(dy);
    const std::int64_t rows = x_shape_.rows();
    if (wants(2)) {
      grads[2] = Tensor::empty(value_shape_, dy.dtype());
      multiply_into({value_shape_[0], value_shape_[1], rows}, dy_operand, true, hidden_, false, grads[2]);
    }
    if (!wants(0) && !wants(1)) return grads;
    if (wants(0)) grads[0] = Tensor::empty(x_shape_, dy.dtype());
    const ProductOperand dh = ProductOperand::empty(hidden_shape(), dy.dtype(), is_bfloat16_);
    run(dy.dtype(), [&]<class Operand>(const kernels::FeedForward<Operand>& layer) {
      if (ShapeOnly::active()) return note(layer.backward_products());
      kernels::feed_forward_backward(layer, hidden_.data<Operand>(), dy_operand.data<Operand>(), dh.data<Operand>(),
                                     data_or_null<typename kernels::FeedForward<Operand>::Real>(grads[0]));
    });
    hidden_ = {};
    if (wants(1)) {
      grads[1] = Tensor::empty(key_shape_, dy.dtype());
      const ProductOperand x = x_.is_bfloat16() ? std::move(x_) : ProductOperand(saved_x_.get());
      multiply_into({key_shape_[0], key_shape_[1], rows}, dh, true, x, false, grads[1]);
    }
    return grads;
  }

 private:
  Shape hidden_shape() const { return x_shape_.with_last(key_shape_[0]); }

  void choose_operands(const Tensor& x, const Tensor& key, const Tensor& value) {
    Bfloat16Products* const products = Bfloat16Products::current();
    is_bfloat16_ = products != nullptr && x.dtype() == DType::f32 &&
                   Bfloat16Products::reduces(key_shape_[1], key_shape_[0]) &&
                   Bfloat16Products::reduces(value_shape_[1], value_shape_[0]);
    x_ = is_bfloat16_ ? products->input(x) : x;
    key_ = is_bfloat16_ ? products->weight(key) : key;
    value_ = is_bfloat16_ ? products->weight(value) : value;
  }

  // What the backward pass needs, and nothing else. The rounded input is small enough to be kept.
  void keep(const Tensor& x) {
    if (wants(1) && !is_bfloat16_) saved_x_ = save(0, x);
    if (!wants(1) || !is_bfloat16_) x_ = {};
    if (!wants_any()) hidden_ = {};
    if (!wants(0) && !wants(1)) value_ = {};
    if (!wants(0)) key_ = {};
  }

  // Calls `body` with the layer in the type of the operands.
  template <class Body>
  void run(DType type, const Body& body) const {
    if (is_bfloat16_) return body(layer<kernels::Bfloat16>());
    if (type == DType::f64) return body(layer<double>());
    if (type != DType::f32) wrong_type_for_arithmetic();
    body(layer<float>());
  }
  template <class Operand>
  kernels::FeedForward<Operand> layer() const {
    kernels::FeedForward<Operand> result;
    result.activation = kind_;
    result.rows = x_shape_.rows();
    result.inputs = key_shape_[1];
    result.hidden = key_shape_[0];
    result.outputs = value_shape_[0];
    if (ShapeOnly::active()) return result;
    result.key = pointer<Operand>(key_);
    result.value = pointer<Operand>(value_);
    return result;
  }
  template <class Operand>
  static const Operand* pointer(const ProductOperand& operand) {
    return operand.is_bfloat16() || operand.values().defined() ? operand.data<Operand>() : nullptr;
  }
  static void note(const std::array<kernels::MatmulCall, 2>& products) {
    for (const kernels::MatmulCall& product : products) kernels::note_matmul(product);
  }

  Activation kind_;
  bool is_bfloat16_ = false;
  ProductOperand x_, key_, value_, hidden_;
  Saved saved_x_;
  Shape x_shape_, key_shape_, value_shape_;
};

}  // namespace

Var feed_forward(Activation kind, const Var& x, const Var& key, const Var& value) {
  return run_op_one<FeedForward>({x, key, value}, kind);
}

}  // namespace rwkvlab
