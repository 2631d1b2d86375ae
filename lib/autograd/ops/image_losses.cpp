// The equations and their gradients are in kernels/image_losses.h.
#include "autograd/ops/image_losses.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "autograd/ops/common.h"
#include "base/error.h"
#include "kernels/elementwise.h"
#include "kernels/image_losses.h"

namespace rwkvlab {
namespace {

// 1 for rows that count and 0 for others, and their number.
template <class Real, class Counts>
std::int64_t mark_rows(const Tensor& marks, Counts&& counts) {
  const std::span<Real> rows = marks.span<Real>();
  for (std::size_t r = 0; r < rows.size(); ++r) rows[r] = counts(r) ? Real(1) : Real(0);
  return std::count(rows.begin(), rows.end(), Real(1));
}

// Mean of the marked rows' losses in the order of the rows; what is not marked becomes 0.
template <class Real>
Real marked_mean(const Tensor& losses, const Tensor& marks, std::int64_t counted) {
  double sum = 0;
  const std::span<Real> values = losses.span<Real>(), rows = marks.span<Real>();
  for (std::size_t r = 0; r < values.size(); ++r) {
    if (rows[r] == Real(0)) values[r] = Real(0);
    sum += static_cast<double>(values[r]);
  }
  return static_cast<Real>(counted > 0 ? sum / static_cast<double>(counted) : 0.0);
}

// What both losses share: rows with a loss each, some of which count.
class RowLossOp : public Op {
 public:
  explicit RowLossOp(RowLoss* result) : result_(result) {}

 protected:
  // Leaves the mean in a scalar; `compute` fills the losses, `counts` says which rows do.
  template <class Compute, class Counts>
  Tensor mean_of(const Tensor& x, Compute&& compute, Counts&& counts) {
    size_ = {x.shape().rows(), x.shape()[-1]};
    const Tensor loss = Tensor::empty({}, x.dtype()), losses = Tensor::empty({size_.rows}, x.dtype());
    marks_ = like(losses);
    for_real(x.dtype(), [&]<class Real>(Real real) {
      compute(real, losses);
      counted_ = mark_rows<Real>(marks_, [&](std::size_t row) { return counts(real, row); });
      *loss.data<Real>() = marked_mean<Real>(losses, marks_, counted_);
    });
    result_->row_losses = losses;
    result_->counted = counted_;
    if (wants_any()) x_ = x;
    return loss;
  }
  double share(const Tensor& grad) const { return counted_ > 0 ? grad.item() / static_cast<double>(counted_) : 0.0; }

  Tensor x_, marks_;
  kernels::RowsSize size_;

 private:
  RowLoss* result_;  // of the caller; used during forward only
  std::int64_t counted_ = 0;
};

class SoftCrossEntropy final : public RowLossOp {
 public:
  SoftCrossEntropy(Tensor target, RowLoss* result) : RowLossOp(result), target_(std::move(target)) {}
  std::string_view name() const override { return "soft_cross_entropy"; }

  Tensors forward(const Tensors& in) override {
    require(in[0].shape().rank() >= 1 && in[0].elements() == target_.elements(),
            "logits [..., classes] and as many targets", in);
    return {mean_of(
        in[0],
        [&]<class Real>(Real, const Tensor& losses) {
          kernels::soft_cross_entropy_forward<Real>(size_, in[0].data<Real>(), target_.data<Real>(),
                                                    losses.data<Real>());
        },
        [&]<class Real>(Real, std::size_t row) {
          const Real* const q = target_.data<Real>() + static_cast<std::int64_t>(row) * size_.channels;
          return std::any_of(q, q + size_.channels, [](Real value) { return value != Real(0); });
        })};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor grad = reuse_or_new(x_);
    for_real(grad.dtype(), [&]<class Real>(Real) {
      kernels::soft_cross_entropy_backward<Real>(size_, x_.data<Real>(), target_.data<Real>(), share(out[0]),
                                                 grad.data<Real>());
    });
    return {grad};
  }

 private:
  Tensor target_;
};

// Inputs prediction, target; their gradients are each other's negative.
class MaskedSquaredError final : public RowLossOp {
 public:
  MaskedSquaredError(Tensor mask, RowLoss* result) : RowLossOp(result), mask_(std::move(mask)) {}
  std::string_view name() const override { return "masked_squared_error"; }

  Tensors forward(const Tensors& in) override {
    target_ = in[1];
    require(in[0].shape() == target_.shape() && mask_.elements() == in[0].shape().rows(),
            "a prediction of the target's shape, and a mark per row", in);
    return {mean_of(
        in[0],
        [&]<class Real>(Real, const Tensor& losses) {
          kernels::squared_error_forward<Real>(size_, in[0].data<Real>(), target_.data<Real>(), losses.data<Real>());
        },
        [&]<class Real>(Real, std::size_t row) { return mask_.data<Real>()[row] != Real(0); })};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor grad = like(x_), negative = wants(1) ? like(x_) : Tensor();
    for_real(grad.dtype(), [&]<class Real>(Real) {
      for (Real& mark : marks_.span<Real>()) mark *= static_cast<Real>(share(out[0]));
      kernels::squared_error_backward<Real>(size_, x_.data<Real>(), target_.data<Real>(), marks_.data<Real>(),
                                            grad.data<Real>());
      if (wants(1)) kernels::scale<Real>(grad.elements(), grad.data<Real>(), -1, 0, negative.data<Real>());
    });
    return {grad, negative};
  }

 private:
  Tensor mask_, target_;
};

}  // namespace

RowLoss soft_cross_entropy(const Var& logits, const Tensor& targets) {
  RowLoss result;
  result.loss = run_op_one<SoftCrossEntropy>({logits}, targets, &result);
  return result;
}

RowLoss masked_squared_error(const Var& prediction, const Var& target, const Tensor& mask) {
  RowLoss result;
  result.loss = run_op_one<MaskedSquaredError>({prediction, target}, mask, &result);
  return result;
}

Tensor smoothed_targets(const Tensor& labels, const Tensor& soft, std::int64_t classes, double smoothing, DType type) {
  const Tensor result = Tensor::zeros({labels.elements(), classes}, type);
  if (ShapeOnly::active()) return result;
  const std::vector<double> given = soft.defined() ? soft.to_doubles() : std::vector<double>();
  check_invariant(given.empty() || static_cast<std::int64_t>(given.size()) == labels.elements() * classes,
                  "soft labels are [labels, classes]");
  const std::span<const std::int64_t> all = labels.span<std::int64_t>();
  for_real(type, [&]<class Real>(Real) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i] < -1 || all[i] >= classes)
        throw DataError(fmt::format("label {} at {} of the batch is outside the {} classes", all[i], i, classes));
      if (all[i] == -1) continue;
      for (std::int64_t c = 0; c < classes; ++c) {
        const std::size_t at = i * static_cast<std::size_t>(classes) + static_cast<std::size_t>(c);
        const double target = given.empty() ? (c == all[i] ? 1.0 : 0.0) : given[at];
        result.data<Real>()[at] =
            static_cast<Real>((1 - smoothing) * target + smoothing / static_cast<double>(classes));
      }
    }
  });
  return result;
}

}  // namespace rwkvlab
