// y_i = table[token_i];  ∂table[n] = Σ_{token_i = n} ∂y_i; gather_rows is the same with other shapes.   copy: y[t,
// token_j] += w[t, j];  ∂w[t, j] = ∂y[t, token_j]
#include "autograd/ops/embedding.h"

#include <fmt/format.h>

#include "autograd/ops/common.h"
#include "base/error.h"
#include "kernels/embedding.h"

namespace rwkvlab {
namespace {

void check_tokens(const Tensor& tokens, std::int64_t vocabulary) {
  if (ShapeOnly::active()) return;
  const auto* const data = tokens.data<std::int64_t>();
  const auto wrong = kernels::first_out_of_range(tokens.elements(), data, vocabulary);
  if (wrong >= 0) {
    throw DataError(
        fmt::format("token {} at position {} is outside the vocabulary of {} tokens", data[wrong], wrong, vocabulary));
  }
}

class Embedding final : public Op {
 public:
  explicit Embedding(Tensor tokens) : tokens_(std::move(tokens)) {}
  std::string_view name() const override { return "embedding"; }
  Tensors forward(const Tensors& in) override {
    const Tensor& table = in[0];
    require(table.shape().rank() == 2 && tokens_.shape().rank() == 2,
            "a table [vocabulary, channels] and tokens [batch, time]", in);
    check_tokens(tokens_, table.shape()[0]);
    table_shape_ = table.shape();
    const Tensor y = Tensor::empty({tokens_.shape()[0], tokens_.shape()[1], table.shape()[1]}, table.dtype());
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::embedding_forward<Real>(tokens_.elements(), table_shape_[1], tokens_.data<std::int64_t>(),
                                       table.data<Real>(), y.data<Real>());
    });
    return {y};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor grad = Tensor::empty(table_shape_, out[0].dtype());
    for_real(grad.dtype(), [&]<class Real>(Real) {
      kernels::embedding_backward<Real>(tokens_.elements(), table_shape_[1], table_shape_[0],
                                        tokens_.data<std::int64_t>(), out[0].data<Real>(), grad.data<Real>());
    });
    return {grad};
  }
  // Of the table, only the tokens' rows are read; its gradient is written whole.
  double forward_bytes(const Tensors&, const Tensors& out) const override {
    return 2.0 * static_cast<double>(out[0].bytes());
  }
  double backward_bytes(double, const Tensors& out, const Tensors& in) const override {
    return Op::backward_bytes(0, out, in);
  }

 private:
  Tensor tokens_;
  Shape table_shape_;
};

class GatherRows final : public Op {
 public:
  explicit GatherRows(Tensor rows) : rows_(std::move(rows)) {}
  std::string_view name() const override { return "gather_rows"; }
  Tensors forward(const Tensors& in) override {
    require(in[0].shape().rank() >= 1 && rows_.shape().rank() == 1, "values [..., channels] and row numbers [count]",
            in);
    shape_ = in[0].shape();
    const auto* const numbers = rows_.data<std::int64_t>();
    check_invariant(ShapeOnly::active() || kernels::first_out_of_range(rows_.elements(), numbers, shape_.rows()) < 0,
                    "a row to gather is outside the tensor");
    const Tensor y = Tensor::empty({1, rows_.elements(), shape_[-1]}, in[0].dtype());
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::embedding_forward<Real>(rows_.elements(), shape_[-1], numbers, in[0].data<Real>(), y.data<Real>());
    });
    return {y};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor grad = Tensor::empty(shape_, out[0].dtype());
    for_real(grad.dtype(), [&]<class Real>(Real) {
      kernels::embedding_backward<Real>(rows_.elements(), shape_[-1], shape_.rows(), rows_.data<std::int64_t>(),
                                        out[0].data<Real>(), grad.data<Real>());
    });
    return {grad};
  }

 private:
  Tensor rows_;
  Shape shape_;
};

// Inputs: logits, weights.
class AddAtTokens final : public Op {
 public:
  explicit AddAtTokens(Tensor tokens) : tokens_(std::move(tokens)) {}
  std::string_view name() const override { return "add_at_tokens"; }
  Tensors forward(const Tensors& in) override {
    const Shape &logits = in[0].shape(), &weights = in[1].shape();
    require(logits.rank() == 3 && weights.rank() == 3 && weights[0] == logits[0] && weights[1] == logits[1] &&
                tokens_.shape() == Shape{weights[0], weights[2]},
            "logits [batch, time, vocabulary] and weights [batch, time, tokens]", in);
    check_tokens(tokens_, logits[2]);
    weights_shape_ = weights;
    vocabulary_ = logits[2];
    const Tensor y = in[0].clone();
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::scatter_add_columns<Real>(weights[0], weights[1], weights[2], vocabulary_, in[1].data<Real>(),
                                         tokens_.data<std::int64_t>(), y.data<Real>());
    });
    return {y};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor grad = Tensor::empty(weights_shape_, out[0].dtype());
    for_real(grad.dtype(), [&]<class Real>(Real) {
      kernels::gather_columns<Real>(weights_shape_[0], weights_shape_[1], weights_shape_[2], vocabulary_,
                                    out[0].data<Real>(), tokens_.data<std::int64_t>(), grad.data<Real>());
    });
    return {out[0], grad};
  }

 private:
  Tensor tokens_;
  Shape weights_shape_;
  std::int64_t vocabulary_ = 0;
};

}  // namespace

Var embedding(const Tensor& tokens, const Var& table) { return run_op_one<Embedding>({table}, tokens); }
Var gather_rows(const Var& x, const Tensor& rows) { return run_op_one<GatherRows>({x}, rows); }
Var add_at_tokens(const Var& logits, const Var& weights, const Tensor& tokens) {
  return run_op_one<AddAtTokens>({logits, weights}, tokens);
}

}  // namespace rwkvlab
