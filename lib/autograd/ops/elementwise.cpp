#include "autograd/ops/elementwise.h"

#include "autograd/ops/common.h"
#include "kernels/elementwise.h"

namespace rwkvlab {
namespace {

// ∂a = ∂b = ∂y
class Add final : public Op {
 public:
  std::string_view name() const override { return "add"; }
  Tensors forward(const Tensors& in) override {
    require(in[0].shape() == in[1].shape(), "two inputs of one shape", in);
    const Tensor y = like(in[0]);
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::add<Real>(y.elements(), in[0].data<Real>(), in[1].data<Real>(), y.data<Real>());
    });
    return {y};
  }
  Tensors backward(const Tensors& out) override { return {out[0], out[0]}; }
  double backward_bytes(double, const Tensors&, const Tensors&) const override { return 0; }  // It is only handed on.
};

// y = a b;  ∂a = ∂y b;  ∂b = ∂y a
class Multiply final : public Op {
 public:
  std::string_view name() const override { return "multiply"; }
  Tensors forward(const Tensors& in) override {
    require(in[0].shape() == in[1].shape(), "two inputs of one shape", in);
    if (wants(1)) a_ = save(0, in[0]);
    if (wants(0)) b_ = save(1, in[1]);
    return {product(in[0], in[1])};
  }
  Tensors backward(const Tensors& out) override {
    return {wants(0) ? product(out[0], b_.get()) : Tensor(), wants(1) ? product(out[0], a_.get()) : Tensor()};
  }
  Recompute recompute(std::size_t) const override {
    if (!wants(0) || !wants(1)) return {};  // Only one factor is kept.
    return [a = a_, b = b_] { return product(a.get(), b.get()); };
  }

 private:
  static Tensor product(const Tensor& a, const Tensor& b) {
    Tensor y = like(a);
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::multiply<Real>(y.elements(), a.data<Real>(), b.data<Real>(), y.data<Real>());
    });
    return y;
  }
  Saved a_, b_;
};

// y = factor x;  ∂x = factor ∂y
class Scale final : public Op {
 public:
  explicit Scale(double factor) : factor_(factor) {}
  std::string_view name() const override { return "scale"; }
  Tensors forward(const Tensors& in) override {
    source_ = source(0);
    return {scaled(factor_, in[0], like(in[0]))};
  }
  Tensors backward(const Tensors& out) override { return {scaled(factor_, out[0], reuse_or_new(out[0]))}; }
  // Nothing is kept here; but what can be computed again can be scaled again.
  Recompute recompute(std::size_t) const override {
    if (!source_) return {};
    return [factor = factor_, source = source_] {
      const Tensor x = source();
      return scaled(factor, x, reuse_or_new(x));
    };
  }

 private:
  static Tensor scaled(double factor, const Tensor& x, const Tensor& into) {
    for_real(x.dtype(), [&]<class Real>(Real) {
      kernels::scale<Real>(x.elements(), x.data<Real>(), factor, 0.0, into.data<Real>());
    });
    return into;
  }
  double factor_;
  Recompute source_;
};

// y = f(x);  ∂x = ∂y f'(x)
class Activate final : public Op {
 public:
  explicit Activate(Activation kind) : kind_(kind) {}
  std::string_view name() const override { return "activation"; }
  Tensors forward(const Tensors& in) override {
    if (wants(0)) x_ = save(0, in[0]);
    return {evaluate(kind_, in[0])};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor x = x_.get(), dx = reuse_or_new(out[0]);
    for_real(dx.dtype(), [&]<class Real>(Real) {
      kernels::activation_backward<Real>(kind_, dx.elements(), x.data<Real>(), out[0].data<Real>(), dx.data<Real>());
    });
    return {dx};
  }
  Recompute recompute(std::size_t) const override {
    return [kind = kind_, x = x_] { return evaluate(kind, x.get()); };
  }

 private:
  static Tensor evaluate(Activation kind, const Tensor& x) {
    Tensor y = like(x);
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::activation_forward<Real>(kind, y.elements(), x.data<Real>(), y.data<Real>());
    });
    return y;
  }
  Activation kind_;
  Saved x_;
};

// y = f(g) v;  ∂g = ∂y v f'(g);  ∂v = ∂y f(g)
class Gate final : public Op {
 public:
  explicit Gate(Activation kind) : kind_(kind) {}
  std::string_view name() const override { return "gate"; }
  Tensors forward(const Tensors& in) override {
    require(in[0].shape() == in[1].shape(), "a gate and a value of one shape", in);
    if (wants_any()) gate_ = save(0, in[0]), value_ = save(1, in[1]);
    return {evaluate(kind_, in[0], in[1])};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor gate = gate_.get(), value = value_.get();
    const Tensor grad_gate = like(gate), grad_value = reuse_or_new(out[0]);
    for_real(gate.dtype(), [&]<class Real>(Real) {
      kernels::gate_backward<Real>(kind_, gate.elements(), gate.data<Real>(), value.data<Real>(), out[0].data<Real>(),
                                   grad_gate.data<Real>(), grad_value.data<Real>());
    });
    return {grad_gate, grad_value};
  }
  Recompute recompute(std::size_t) const override {
    return [kind = kind_, gate = gate_, value = value_] { return evaluate(kind, gate.get(), value.get()); };
  }

 private:
  static Tensor evaluate(Activation kind, const Tensor& gate, const Tensor& value) {
    Tensor y = like(gate);
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::gate_forward<Real>(kind, y.elements(), gate.data<Real>(), value.data<Real>(), y.data<Real>());
    });
    return y;
  }
  Activation kind_;
  Saved gate_, value_;
};

// The gradient is dropped and scaled by the same mask.
class Dropout final : public Op {
 public:
  explicit Dropout(const kernels::DropoutMask& mask) : mask_(mask) {}
  std::string_view name() const override { return "dropout"; }
  Tensors forward(const Tensors& in) override { return {masked(in[0], like(in[0]))}; }
  Tensors backward(const Tensors& out) override { return {masked(out[0], reuse_or_new(out[0]))}; }

 private:
  Tensor masked(const Tensor& x, const Tensor& into) const {
    for_real(x.dtype(),
             [&]<class Real>(Real) { kernels::dropout<Real>(x.elements(), mask_, x.data<Real>(), into.data<Real>()); });
    return into;
  }
  kernels::DropoutMask mask_;
};

}  // namespace

Var add(const Var& a, const Var& b) { return run_op_one<Add>({a, b}); }
Var multiply(const Var& a, const Var& b) { return run_op_one<Multiply>({a, b}); }
Var scale(const Var& x, double factor) { return run_op_one<Scale>({x}, factor); }
Var activation(Activation kind, const Var& x) { return run_op_one<Activate>({x}, kind); }
Var gate(Activation kind, const Var& gate, const Var& value) { return run_op_one<Gate>({gate, value}, kind); }
Var dropout(const Var& x, const kernels::DropoutMask& mask) { return run_op_one<Dropout>({x}, mask); }

}  // namespace rwkvlab
