// Copies; gradients are copied back, and added up where a part was repeated.
#include "autograd/ops/channels.h"

#include "autograd/ops/common.h"
#include "kernels/columns.h"

namespace rwkvlab {
namespace {

class SplitChannels final : public Op {
 public:
  explicit SplitChannels(std::vector<std::int64_t> sizes) : sizes_(std::move(sizes)) {}
  std::string_view name() const override { return "split_channels"; }

  Tensors forward(const Tensors& in) override {
    shape_ = in[0].shape();
    type_ = in[0].dtype();
    std::int64_t sum = 0;
    bool positive = !sizes_.empty();
    for (const std::int64_t size : sizes_) sum += size, positive = positive && size > 0;
    require(shape_.rank() >= 1 && positive && shape_[-1] == sum, "channels that are the sum of the parts", in);
    Tensors parts;
    for (const std::int64_t size : sizes_) parts.push_back(Tensor::empty(shape_.with_last(size), type_));
    for_real(type_, [&]<class Real>(Real) {
      std::int64_t from = 0;
      for (std::size_t i = 0; i < sizes_.size(); from += sizes_[i++]) {
        kernels::copy_columns<Real>(shape_.rows(), sizes_[i], in[0].data<Real>() + from, shape_[-1],
                                    parts[i].data<Real>(), sizes_[i]);
      }
    });
    return parts;
  }

  Tensors backward(const Tensors& out) override {
    const Tensor grad = Tensor::empty(shape_, type_);
    for_real(type_, [&]<class Real>(Real) {
      std::int64_t from = 0;
      for (std::size_t i = 0; i < sizes_.size(); from += sizes_[i++]) {
        const Tensor part = out[i].defined() ? out[i] : Tensor::zeros(shape_.with_last(sizes_[i]), type_);
        kernels::copy_columns<Real>(shape_.rows(), sizes_[i], part.data<Real>(), sizes_[i], grad.data<Real>() + from,
                                    shape_[-1]);
      }
    });
    return {grad};
  }

 private:
  std::vector<std::int64_t> sizes_;
  Shape shape_;
  DType type_ = DType::f32;
};

class RepeatGroups final : public Op {
 public:
  RepeatGroups(std::int64_t groups, std::int64_t count) : groups_(groups), count_(count) {}
  std::string_view name() const override { return "repeat_groups"; }

  Tensors forward(const Tensors& in) override {
    shape_ = in[0].shape();
    require(shape_.rank() >= 1 && groups_ >= 1 && count_ >= 1 && shape_[-1] % groups_ == 0,
            "input [..., channels] and a number of groups that divides the channels", in);
    const Tensor y = Tensor::empty(shape_.with_last(shape_[-1] * count_), in[0].dtype());
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::repeat_blocks_forward<Real>(shape_.rows() * groups_, shape_[-1] / groups_, count_, in[0].data<Real>(),
                                           y.data<Real>());
    });
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor grad = Tensor::empty(shape_, out[0].dtype());
    for_real(grad.dtype(), [&]<class Real>(Real) {
      kernels::repeat_blocks_backward<Real>(shape_.rows() * groups_, shape_[-1] / groups_, count_, out[0].data<Real>(),
                                            grad.data<Real>());
    });
    return {grad};
  }

 private:
  std::int64_t groups_, count_;
  Shape shape_;
};

}  // namespace

std::vector<Var> split_channels(const Var& x, const std::vector<std::int64_t>& sizes) {
  return run_op(std::make_unique<SplitChannels>(sizes), {x});
}

Var repeat_groups(const Var& x, std::int64_t groups, std::int64_t count) {
  return count == 1 ? x : run_op_one<RepeatGroups>({x}, groups, count);
}

}  // namespace rwkvlab
