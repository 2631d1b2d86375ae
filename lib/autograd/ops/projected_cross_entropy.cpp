// z = x Wᵀ, L = mean_r (log Σ_c e^{z_rc} - z_r,target);  ∂z as in cross_entropy.cpp, ∂x = ∂z W, ∂W = Σ_blocks ∂zᵀ x
// over blocks of rows, in their order.
#include "autograd/ops/projected_cross_entropy.h"

#include <algorithm>

#include "autograd/ops/common.h"
#include "autograd/ops/matmul.h"

namespace rwkvlab {
namespace {

// As many rows as make 2^25 logits, in whole multiples of 512: ∂W is read and written once per block, so many rows are
// better; a multiple, because products over rows are added up in steps of as many (kernels/matmul.cpp).
std::int64_t rows_of_a_block(std::int64_t rows, std::int64_t vocabulary) {
  constexpr std::int64_t step = 512, logits = std::int64_t{1} << 25;
  return std::min(rows, std::max<std::int64_t>(1, logits / vocabulary / step) * step);
}

// Inputs x, weight.
class ProjectedCrossEntropy final : public Op {
 public:
  ProjectedCrossEntropy(Tensor targets, double l2wrap, CrossEntropyLoss* result)
      : targets_(std::move(targets)), l2wrap_(l2wrap), result_(result) {}
  std::string_view name() const override { return "projected_cross_entropy"; }

  Tensors forward(const Tensors& in) override {
    const Tensor &x = in[0], &weight = in[1];
    require(x.shape().rank() >= 1 && weight.shape().rank() == 2 && x.shape()[-1] == weight.shape()[1] &&
                x.shape().rows() == targets_.elements(),
            "input [..., channels], weight [vocabulary, channels] and as many targets as rows", in);
    check_targets(targets_, weight.shape()[0]);
    if (!ShapeOnly::active()) {
      const auto all = targets_.span<std::int64_t>();
      counted_ = static_cast<std::int64_t>(all.size()) - std::count(all.begin(), all.end(), kernels::ignored_target);
    }
    Bfloat16Products* const products = Bfloat16Products::current();
    is_bfloat16_ = products != nullptr && x.dtype() == DType::f32 &&
                   Bfloat16Products::reduces(weight.shape()[1], weight.shape()[0]);
    weight_ = is_bfloat16_ ? products->weight(weight) : weight;
    vocabulary_ = weight.shape()[0], channels_ = weight.shape()[1];
    const Tensor loss = Tensor::empty({}, x.dtype());
    result_->row_losses = Tensor::empty(targets_.shape(), x.dtype());
    result_->counted = counted_;
    if (wants_any()) x_ = save(0, x);
    compute(x, 1, result_->row_losses);
    for_real(x.dtype(), [&]<class Real>(Real) {
      *loss.data<Real>() =
          static_cast<Real>(kernels::cross_entropy_mean<Real>(targets_.elements(), targets_.data<std::int64_t>(),
                                                              result_->row_losses.data<Real>())
                                .mean);
    });
    if (!wants_any()) weight_ = {};
    return {loss};
  }

  Tensors backward(const Tensors& out) override {
    if (ShapeOnly::active()) {
      note_backward_products();
    } else if (const double seed = out[0].item(); seed != 1) {
      const Tensor x = x_.get();
      compute(x, seed, Tensor::empty(targets_.shape(), x.dtype()));
    }
    return {std::move(grad_x_), std::move(grad_weight_)};
  }

 private:
  // Losses of all rows, and the gradients that are wanted, for the incoming gradient `seed`.
  void compute(const Tensor& x, double seed, const Tensor& row_losses) {
    const std::int64_t rows = targets_.elements(), step = rows_of_a_block(rows, vocabulary_);
    const Tensor flat = x.reshaped({rows, channels_}), losses = row_losses.reshaped({rows});
    if (wants(0) && !grad_x_.defined()) grad_x_ = like(x);
    if (wants(1) && !grad_weight_.defined()) grad_weight_ = Tensor::empty({vocabulary_, channels_}, x.dtype());
    const Tensor logits = Tensor::empty({step, vocabulary_}, x.dtype());
    const double factor = counted_ > 0 ? seed / static_cast<double>(counted_) : 0.0;
    for (std::int64_t begin = 0; begin < rows; begin += step) {
      const std::int64_t end = std::min(rows, begin + step);
      compute_block({flat.rows(begin, end), targets_.reshaped({rows}).rows(begin, end), losses.rows(begin, end),
                     logits.rows(0, end - begin), begin, factor});
    }
  }

  struct Block {
    Tensor x, targets, losses, logits;
    std::int64_t begin;  // its first row
    double factor;
  };

  void compute_block(const Block& block) {
    const std::int64_t rows = block.x.shape()[0];
    const ProductOperand x = is_bfloat16_ ? ProductOperand::rounded(block.x) : block.x;
    multiply_into({rows, vocabulary_, channels_}, x, false, weight_, true, block.logits);
    for_real(block.x.dtype(), [&]<class Real>(Real) {
      kernels::cross_entropy_in_place<Real>({rows, vocabulary_}, block.targets.data<std::int64_t>(), block.factor,
                                            l2wrap_ / static_cast<double>(targets_.elements()),
                                            block.logits.data<Real>(), block.losses.data<Real>());
    });
    if (!wants_any()) return;
    const ProductOperand gradient = is_bfloat16_ ? ProductOperand::rounded(block.logits) : block.logits;
    if (ShapeOnly::active()) return;  // backward() counts the products below.
    if (wants(0)) {
      multiply_into({rows, channels_, vocabulary_}, gradient, false, weight_, false,
                    grad_x_.reshaped({targets_.elements(), channels_}).rows(block.begin, block.begin + rows));
    }
    if (wants(1)) {
      multiply_into({vocabulary_, channels_, rows}, gradient, true, x, false, grad_weight_, block.begin > 0);
    }
  }

  // Shapes alone: the products of compute_block, counted where a plain projection would have them.
  void note_backward_products() const {
    const std::int64_t rows = targets_.elements();
    if (wants(0)) multiply_into({rows, channels_, vocabulary_}, weight_, false, weight_, false, {});
    if (wants(1)) multiply_into({vocabulary_, channels_, rows}, weight_, true, weight_, false, {});
  }

  Tensor targets_;
  double l2wrap_;
  CrossEntropyLoss* result_;  // of the caller; used during forward only
  std::int64_t counted_ = 0, vocabulary_ = 0, channels_ = 0;
  bool is_bfloat16_ = false;
  Saved x_;
  ProductOperand weight_;
  Tensor grad_x_, grad_weight_;
};

}  // namespace

CrossEntropyLoss projected_cross_entropy(const Var& x, const Var& weight, const Tensor& targets, double l2wrap) {
  CrossEntropyLoss result;
  result.loss = run_op_one<ProjectedCrossEntropy>({x, weight}, targets, l2wrap, &result);
  return result;
}

}  // namespace rwkvlab
