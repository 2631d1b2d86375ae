// The equations and their gradients are in kernels/heads.h.
#include "autograd/ops/heads.h"

#include "autograd/ops/common.h"
#include "kernels/elementwise.h"
#include "kernels/heads.h"

namespace rwkvlab {
namespace {

kernels::RowsSize rows_of(const Tensor& x) { return {x.shape().rows(), x.shape()[-1]}; }

bool divides(std::int64_t heads, const Tensor& x) {
  return x.shape().rank() >= 1 && heads >= 1 && x.shape()[-1] % heads == 0;
}

Tensor or_zeros(const Tensor& grad, const Tensor& value) {
  return grad.defined() ? grad : Tensor::zeros(value.shape(), value.dtype());
}

// Inputs key, rate, key_scale, key_boost; outputs removal, replacement, boosted key.
class DeltaKeysOp final : public Op {
 public:
  explicit DeltaKeysOp(std::int64_t heads) : heads_(heads) {}
  std::string_view name() const override { return "delta_keys"; }

  Tensors forward(const Tensors& in) override {
    const Tensor &key = in[0], &rate = in[1], &scale = in[2], &boost = in[3];
    require(divides(heads_, key) && rate.shape() == key.shape() && scale.elements() == key.shape()[-1] &&
                boost.elements() == key.shape()[-1],
            "key and rate [..., channels], key_scale and key_boost [channels], and heads that divide the channels", in);
    if (wants_any()) {
      key_ = save(0, key), rate_ = save(1, rate);
      scale_ = scale, boost_ = boost;
      again_ = std::make_shared<Tensors>();
    }
    return evaluate(heads_, in);
  }

  Tensors backward(const Tensors& out) override {
    const Tensor key = key_.get(), rate = rate_.get();
    const Tensor removal = or_zeros(out[0], key), replacement = or_zeros(out[1], key), boosted = or_zeros(out[2], key);
    Tensors grads = {like(key), like(key), like(scale_), like(boost_)};
    for_real(key.dtype(), [&]<class Real>(Real) {
      kernels::delta_keys_backward<Real>({rows_of(key), heads_, key.data<Real>(), rate.data<Real>(),
                                          scale_.data<Real>(), boost_.data<Real>(), removal.data<Real>(),
                                          replacement.data<Real>(), boosted.data<Real>(), grads[0].data<Real>(),
                                          grads[1].data<Real>(), grads[2].data<Real>(), grads[3].data<Real>()});
    });
    return grads;
  }

  // All three at the first call for one of them; they stay until the last of these is gone.
  Recompute recompute(std::size_t output) const override {
    return [output, heads = heads_, key = key_, rate = rate_, scale = scale_, boost = boost_, all = again_] {
      if (all->empty()) *all = evaluate(heads, {key.get(), rate.get(), scale, boost});
      return (*all)[output];
    };
  }

 private:
  static Tensors evaluate(std::int64_t heads, const Tensors& in) {
    const Tensor &key = in[0], &rate = in[1], &scale = in[2], &boost = in[3];
    Tensors out = {like(key), like(key), like(key)};
    for_real(key.dtype(), [&]<class Real>(Real) {
      kernels::delta_keys_forward<Real>({rows_of(key), heads, key.data<Real>(), rate.data<Real>(), scale.data<Real>(),
                                         boost.data<Real>(), out[0].data<Real>(), out[1].data<Real>(),
                                         out[2].data<Real>()});
    });
    return out;
  }

  std::int64_t heads_;
  Saved key_, rate_;
  Tensor scale_, boost_;
  std::shared_ptr<Tensors> again_;
};

// Inputs y, receptance, key, value, bonus.
class HeadBonus final : public Op {
 public:
  explicit HeadBonus(std::int64_t heads) : heads_(heads) {}
  std::string_view name() const override { return "head_bonus"; }

  Tensors forward(const Tensors& in) override {
    const Tensor& y = in[0];
    require(divides(heads_, y) && in[1].shape() == y.shape() && in[2].shape() == y.shape() &&
                in[3].shape() == y.shape() && in[4].elements() == y.shape()[-1],
            "y, receptance, key and value [..., channels], bonus [channels], and heads that divide the channels", in);
    if (wants_any()) {
      receptance_ = save(1, in[1]), key_ = save(2, in[2]), value_ = save(3, in[3]);
      bonus_ = in[4];
    }
    y_source_ = source(0);
    return {evaluate(heads_, in)};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor &grad = out[0], receptance = receptance_.get(), key = key_.get(), value = value_.get();
    Tensors grads = {grad, like(grad), like(grad), like(grad), like(bonus_)};
    for_real(grad.dtype(), [&]<class Real>(Real) {
      kernels::head_bonus_backward<Real>({rows_of(grad), heads_, receptance.data<Real>(), key.data<Real>(),
                                          value.data<Real>(), bonus_.data<Real>(), grad.data<Real>(),
                                          grads[1].data<Real>(), grads[2].data<Real>(), grads[3].data<Real>(),
                                          grads[4].data<Real>()});
    });
    return grads;
  }

  // y is not kept here; but where it can be computed again, so can the sum.
  Recompute recompute(std::size_t) const override {
    if (!y_source_) return {};
    return computed_once(
        [heads = heads_, y = y_source_, receptance = receptance_, key = key_, value = value_, bonus = bonus_] {
          return evaluate(heads, {y(), receptance.get(), key.get(), value.get(), bonus});
        });
  }

 private:
  static Tensor evaluate(std::int64_t heads, const Tensors& in) {
    Tensor out = like(in[0]);
    for_real(out.dtype(), [&]<class Real>(Real) {
      kernels::head_bonus_forward<Real>({rows_of(out), heads, in[0].data<Real>(), in[1].data<Real>(),
                                         in[2].data<Real>(), in[3].data<Real>(), in[4].data<Real>(), out.data<Real>()});
    });
    return out;
  }

  std::int64_t heads_;
  Saved receptance_, key_, value_;
  Tensor bonus_;
  Recompute y_source_;
};

class RepeatHeads final : public Op {
 public:
  explicit RepeatHeads(std::int64_t head_size) : head_size_(head_size) {}
  std::string_view name() const override { return "repeat_heads"; }

  Tensors forward(const Tensors& in) override {
    const Tensor& x = in[0];
    require(x.shape().rank() >= 1 && x.shape()[-1] >= 1 && head_size_ >= 1, "input [..., heads]", in);
    heads_ = x.shape()[-1];
    shape_ = x.shape();
    const Tensor y = Tensor::empty(x.shape().with_last(heads_ * head_size_), x.dtype());
    for_real(x.dtype(), [&]<class Real>(Real) {
      kernels::repeat_heads_forward<Real>(rows_of(y), heads_, x.data<Real>(), y.data<Real>());
    });
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor grad = Tensor::empty(shape_, out[0].dtype());
    for_real(grad.dtype(), [&]<class Real>(Real) {
      kernels::repeat_heads_backward<Real>(rows_of(out[0]), heads_, out[0].data<Real>(), grad.data<Real>());
    });
    return {grad};
  }

 private:
  std::int64_t head_size_, heads_ = 0;
  Shape shape_;
};

// ∂vector = Σ_rows ∂y
class RepeatRows final : public Op {
 public:
  RepeatRows(std::int64_t batch, std::int64_t time) : batch_(batch), time_(time) {}
  std::string_view name() const override { return "repeat_rows"; }

  Tensors forward(const Tensors& in) override {
    require(batch_ >= 0 && time_ >= 0 && in[0].elements() >= 1, "a vector, and sizes that are not negative", in);
    shape_ = in[0].shape();
    const Tensor y = Tensor::zeros({batch_, time_, in[0].elements()}, in[0].dtype());
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::add_vector<Real>(rows_of(y), y.data<Real>(), in[0].data<Real>(), y.data<Real>());
    });
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor grad = Tensor::empty(shape_, out[0].dtype());
    for_real(grad.dtype(), [&]<class Real>(Real) {
      kernels::sum_rows<Real>(rows_of(out[0]), out[0].data<Real>(), grad.data<Real>());
    });
    return {grad};
  }

 private:
  std::int64_t batch_, time_;
  Shape shape_;
};

// Inputs from, to, weight.
class Lerp final : public Op {
 public:
  std::string_view name() const override { return "lerp"; }

  Tensors forward(const Tensors& in) override {
    require(in[1].shape() == in[0].shape() && in[2].shape() == in[0].shape(), "three inputs of one shape", in);
    if (wants_any()) from_ = save(0, in[0]), to_ = save(1, in[1]), weight_ = save(2, in[2]);
    return {evaluate(in[0], in[1], in[2])};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor from = from_.get(), to = to_.get(), weight = weight_.get();
    Tensors grads = {like(from), like(from), like(from)};
    for_real(from.dtype(), [&]<class Real>(Real) {
      kernels::lerp_backward<Real>(from.elements(), from.data<Real>(), to.data<Real>(), weight.data<Real>(),
                                   out[0].data<Real>(), grads[0].data<Real>(), grads[1].data<Real>(),
                                   grads[2].data<Real>());
    });
    return grads;
  }

  Recompute recompute(std::size_t) const override {
    return computed_once(
        [from = from_, to = to_, weight = weight_] { return evaluate(from.get(), to.get(), weight.get()); });
  }

 private:
  static Tensor evaluate(const Tensor& from, const Tensor& to, const Tensor& weight) {
    Tensor y = like(from);
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::lerp_forward<Real>(y.elements(), from.data<Real>(), to.data<Real>(), weight.data<Real>(),
                                  y.data<Real>());
    });
    return y;
  }
  Saved from_, to_, weight_;
};

}  // namespace

DeltaKeys delta_keys(const Var& key, const Var& rate, const Var& key_scale, const Var& key_boost, std::int64_t heads) {
  auto out = run_op(std::make_unique<DeltaKeysOp>(heads), {key, rate, key_scale, key_boost});
  return {out[0], out[1], out[2]};
}

Var head_bonus(const Var& y, const Var& receptance, const Var& key, const Var& value, const Var& bonus,
               std::int64_t heads) {
  return run_op_one<HeadBonus>({y, receptance, key, value, bonus}, heads);
}

Var repeat_heads(const Var& x, std::int64_t head_size) { return run_op_one<RepeatHeads>({x}, head_size); }

Var repeat_rows(const Var& vector, std::int64_t batch, std::int64_t time) {
  return run_op_one<RepeatRows>({vector}, batch, time);
}

Var lerp(const Var& from, const Var& to, const Var& weight) { return run_op_one<Lerp>({from, to, weight}); }

}  // namespace rwkvlab
