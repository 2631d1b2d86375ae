// L = mean_r (log Σ_c e^{z_rc} - z_r,target);  ∂z = (softmax(z) - onehot) ∂L / counted  (+ L2Wrap,
// kernels/cross_entropy.h)
#include "autograd/ops/cross_entropy.h"

#include <fmt/format.h>

#include "autograd/ops/common.h"
#include "base/error.h"

namespace rwkvlab {
namespace {

class CrossEntropy final : public Op {
 public:
  CrossEntropy(Tensor targets, double l2wrap, CrossEntropyLoss* result)
      : targets_(std::move(targets)), l2wrap_(l2wrap), result_(result) {}
  std::string_view name() const override { return "cross_entropy"; }

  Tensors forward(const Tensors& in) override {
    const Tensor& logits = in[0];
    require(logits.shape().rank() >= 1 && logits.shape().rows() == targets_.elements(),
            "logits [..., vocabulary] and as many targets", in);
    const kernels::RowsSize size = {logits.shape().rows(), logits.shape()[-1]};
    check_targets(targets_, size.channels);
    const Tensor loss = Tensor::empty({}, logits.dtype());
    const Tensor row_losses = Tensor::empty(targets_.shape(), logits.dtype());
    log_normaliser_ = like(row_losses);
    kernels::CrossEntropyResult outcome;
    for_real(logits.dtype(), [&]<class Real>(Real) {
      outcome = kernels::cross_entropy_forward<Real>(size, logits.data<Real>(), targets_.data<std::int64_t>(),
                                                     row_losses.data<Real>(), log_normaliser_.data<Real>());
      *loss.data<Real>() = static_cast<Real>(outcome.mean);
    });
    counted_ = outcome.counted;
    result_->row_losses = row_losses;
    result_->counted = counted_;
    if (wants(0)) logits_ = logits;
    return {loss};
  }

  Tensors backward(const Tensors& out) override {
    const kernels::RowsSize size = {logits_.shape().rows(), logits_.shape()[-1]};
    const Tensor grad = reuse_or_new(logits_);
    for_real(grad.dtype(), [&]<class Real>(Real) {
      const double factor = counted_ > 0 ? out[0].item() / static_cast<double>(counted_) : 0.0;
      kernels::cross_entropy_backward<Real>(size, logits_.data<Real>(), targets_.data<std::int64_t>(),
                                            log_normaliser_.data<Real>(), factor, l2wrap_, grad.data<Real>());
    });
    return {grad};
  }

 private:
  Tensor targets_;
  double l2wrap_;
  CrossEntropyLoss* result_;  // of the caller; used during forward only
  Tensor logits_, log_normaliser_;
  std::int64_t counted_ = 0;
};

}  // namespace

void check_targets(const Tensor& targets, std::int64_t vocabulary) {
  if (ShapeOnly::active()) return;
  for (const std::int64_t target : targets.span<std::int64_t>()) {
    if (target != kernels::ignored_target && (target < 0 || target >= vocabulary)) {
      throw DataError(fmt::format("target {} is outside the vocabulary of {} tokens", target, vocabulary));
    }
  }
}

CrossEntropyLoss cross_entropy(const Var& logits, const Tensor& targets, double l2wrap) {
  CrossEntropyLoss result;
  result.loss = run_op_one<CrossEntropy>({logits}, targets, l2wrap, &result);
  return result;
}

}  // namespace rwkvlab
