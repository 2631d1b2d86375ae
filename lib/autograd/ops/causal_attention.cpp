// The equations and their gradients are in kernels/causal_attention.h.
#include "autograd/ops/causal_attention.h"

#include <algorithm>

#include "autograd/ops/common.h"
#include "kernels/causal_attention.h"

namespace rwkvlab {
namespace {

// Inputs query, key, value.
class CausalAttention final : public Op {
 public:
  CausalAttention(std::int64_t heads, std::vector<double> slopes, bool sees_all)
      : heads_(heads), slopes_(std::move(slopes)), sees_all_(sees_all) {}
  std::string_view name() const override { return "causal_attention"; }

  Tensors forward(const Tensors& in) override {
    const Shape &q = in[0].shape(), &k = in[1].shape();
    require(q.rank() == 3 && k.rank() == 3 && in[2].shape() == k && q[0] == k[0] && q[2] == k[2] && q[1] <= k[1] &&
                heads_ >= 1 && q[2] % heads_ == 0 &&
                (slopes_.empty() || static_cast<std::int64_t>(slopes_.size()) == heads_),
            "query [batch, queries, channels], key and value [batch, keys, channels] with at least as many keys, heads "
            "that divide the channels, and no slope or one per head",
            in);
    size_ = {q[0], q[1], k[1], heads_, q[2] / heads_, sees_all_};
    const Tensor y = like(in[0]), softmax = Tensor::empty({q[0], heads_, q[1], 2}, y.dtype());
    kernels::note_causal_attention(size_, false);
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::causal_attention_forward<Real>({size_, slopes(), in[0].data<Real>(), in[1].data<Real>(),
                                               in[2].data<Real>(), y.data<Real>(), softmax.data<Real>()});
    });
    if (wants_any()) {
      for (std::size_t i = 0; i < 3; ++i) inputs_[i] = save(i, in[i]);
      softmax_ = softmax;
    }
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor query = inputs_[0].get(), key = inputs_[1].get(), value = inputs_[2].get();
    Tensors grads = {like(query), like(key), like(value)};
    kernels::note_causal_attention(size_, true);
    for_real(query.dtype(), [&]<class Real>(Real) {
      kernels::causal_attention_backward<Real>({size_, slopes(), query.data<Real>(), key.data<Real>(),
                                                value.data<Real>(), softmax_.data<Real>(), out[0].data<Real>(),
                                                grads[0].data<Real>(), grads[1].data<Real>(), grads[2].data<Real>()});
    });
    return grads;
  }

 private:
  const double* slopes() const { return slopes_.empty() ? nullptr : slopes_.data(); }

  std::int64_t heads_;
  std::vector<double> slopes_;
  bool sees_all_;
  kernels::CausalAttentionSize size_;
  Saved inputs_[3];
  Tensor softmax_;
};

// Inputs past, x.
class AppendTokens final : public Op {
 public:
  std::string_view name() const override { return "append_tokens"; }

  Tensors forward(const Tensors& in) override {
    past_ = in[0].shape(), x_ = in[1].shape();
    require(past_.rank() == 3 && x_.rank() == 3 && past_[0] == x_[0] && past_[2] == x_[2],
            "two sequences [batch, time, channels] of equal batch and channels", in);
    const Tensor all = Tensor::empty({x_[0], past_[1] + x_[1], x_[2]}, in[1].dtype());
    for_real(all.dtype(), [&]<class Real>(Real) {
      const std::int64_t before = past_[1] * past_[2], after = x_[1] * x_[2];
      for (std::int64_t b = 0; b < x_[0]; ++b) {
        Real* const to = all.data<Real>() + b * (before + after);
        std::copy_n(in[0].data<Real>() + b * before, before, to);
        std::copy_n(in[1].data<Real>() + b * after, after, to + before);
      }
    });
    return {all};
  }

  Tensors backward(const Tensors& out) override {
    Tensors grads = {wants(0) ? Tensor::empty(past_, out[0].dtype()) : Tensor(),
                     wants(1) ? Tensor::empty(x_, out[0].dtype()) : Tensor()};
    for_real(out[0].dtype(), [&]<class Real>(Real) {
      const std::int64_t before = past_[1] * past_[2], after = x_[1] * x_[2];
      for (std::int64_t b = 0; b < x_[0]; ++b) {
        const Real* const from = out[0].data<Real>() + b * (before + after);
        if (wants(0)) std::copy_n(from, before, grads[0].data<Real>() + b * before);
        if (wants(1)) std::copy_n(from + before, after, grads[1].data<Real>() + b * after);
      }
    });
    return grads;
  }

 private:
  Shape past_, x_;
};

}  // namespace

Var causal_attention(const Var& query, const Var& key, const Var& value, std::int64_t heads,
                     const std::vector<double>& slopes) {
  return run_op_one<CausalAttention>({query, key, value}, heads, slopes, false);
}

Var full_attention(const Var& query, const Var& key, const Var& value, std::int64_t heads) {
  return run_op_one<CausalAttention>({query, key, value}, heads, std::vector<double>(), true);
}

Var append_tokens(const Var& past, const Var& x) {
  if (!past.defined() || past.value().elements() == 0) return x;
  return run_op_one<AppendTokens>({past, x});
}

}  // namespace rwkvlab
