// All of these move or weigh values, so every gradient is the transposed map: join_patches, the transposed weights of
// each axis, the inverse order. mean: ∂x_t = ∂y / T. Branch: ∂x = ∂y, ∂branch = s c ∂y, ∂c = Σ s branch ∂y.
#include "autograd/ops/image_tokens.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/common.h"
#include "base/error.h"
#include "kernels/elementwise.h"
#include "kernels/images.h"
#include "kernels/residual_branch.h"

namespace rwkvlab {
namespace {

class ImagePatches final : public Op {
 public:
  explicit ImagePatches(std::int64_t patch) { size_.patch = patch; }
  std::string_view name() const override { return "image_patches"; }

  Tensors forward(const Tensors& in) override {
    const Shape& x = in[0].shape();
    require(x.rank() == 4 && size_.patch >= 1, "images [batch, channels, height, width] and a patch of some pixels",
            in);
    size_ = {x[0], x[1], x[2], x[3], size_.patch};
    const Tensor y = Tensor::empty({size_.batch, size_.rows() * size_.columns(), size_.values()}, in[0].dtype());
    for_real(y.dtype(),
             [&]<class Real>(Real) { kernels::cut_patches<Real>(size_, in[0].data<Real>(), y.data<Real>()); });
    return {y};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor dx = Tensor::empty({size_.batch, size_.channels, size_.height, size_.width}, out[0].dtype());
    for_real(dx.dtype(),
             [&]<class Real>(Real) { kernels::join_patches<Real>(size_, out[0].data<Real>(), dx.data<Real>()); });
    return {dx};
  }

 private:
  kernels::PatchSize size_;
};

// The cubic convolution kernel (Keys 1981) with a = -0.75 at distance d.
double cubic(double d) {
  constexpr double a = -0.75;
  d = std::fabs(d);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

kernels::AxisWeights resize_axis(std::int64_t from, std::int64_t to, std::int64_t whole, bool is_cubic) {
  kernels::AxisWeights axis;
  axis.inputs = from;
  for (std::int64_t d = 0; d < to; ++d) {
    double at = (static_cast<double>(d) + 0.5) * static_cast<double>(from) / static_cast<double>(whole) - 0.5;
    if (!is_cubic) at = std::max(at, 0.0);
    const double first = std::floor(at);
    for (int tap = is_cubic ? -1 : 0; tap <= (is_cubic ? 2 : 1); ++tap) {
      const double distance = at - (first + tap);
      axis.input.push_back(std::clamp(static_cast<std::int64_t>(first) + tap, std::int64_t{0}, from - 1));
      axis.weight.push_back(is_cubic ? cubic(distance) : 1 - std::fabs(distance));
    }
    axis.begin.push_back(static_cast<std::int64_t>(axis.input.size()));
  }
  return axis;
}

class ResizeGrid final : public Op {
 public:
  ResizeGrid(const GridSize& from, const GridSize& to, const GridSize& whole, bool is_cubic)
      : rows_(resize_axis(from.rows, to.rows, whole.rows, is_cubic)),
        columns_(resize_axis(from.columns, to.columns, whole.columns, is_cubic)) {}
  std::string_view name() const override { return "resize_grid"; }

  Tensors forward(const Tensors& in) override {
    const Shape& x = in[0].shape();
    require(x.rank() == 3 && x[1] == rows_.inputs * columns_.inputs, "x [batch, rows · columns, channels]", in);
    return {resized(rows_, columns_, in[0])};
  }
  Tensors backward(const Tensors& out) override { return {resized(rows_.transposed(), columns_.transposed(), out[0])}; }

 private:
  static Tensor resized(const kernels::AxisWeights& rows, const kernels::AxisWeights& columns, const Tensor& x) {
    const std::int64_t batch = x.shape()[0], channels = x.shape()[2];
    const Tensor between = Tensor::empty({batch, rows.outputs(), columns.inputs, channels}, x.dtype());
    const Tensor y = Tensor::empty({batch, rows.outputs() * columns.outputs(), channels}, x.dtype());
    for_real(x.dtype(), [&]<class Real>(Real) {
      kernels::weigh_axis<Real>(rows, batch, columns.inputs * channels, x.data<Real>(), between.data<Real>());
      kernels::weigh_axis<Real>(columns, batch * rows.outputs(), channels, between.data<Real>(), y.data<Real>());
    });
    return y;
  }
  kernels::AxisWeights rows_, columns_;
};

class Reshape final : public Op {
 public:
  explicit Reshape(const Shape& shape) : to_(shape) {}
  std::string_view name() const override { return "reshape"; }
  Tensors forward(const Tensors& in) override {
    from_ = in[0].shape();
    require(from_.elements() == to_.elements(), "as many elements as the new shape has", in);
    return {in[0].reshaped(to_)};
  }
  Tensors backward(const Tensors& out) override { return {out[0].reshaped(from_)}; }
  double forward_bytes(const Tensors&, const Tensors&) const override { return 0; }
  double backward_bytes(double, const Tensors&, const Tensors&) const override { return 0; }

 private:
  Shape from_, to_;
};

class ChannelsFirst final : public Op {
 public:
  std::string_view name() const override { return "channels_first"; }
  Tensors forward(const Tensors& in) override {
    require(in[0].shape().rank() == 3, "x [batch, time, channels]", in);
    return {swapped(in[0])};
  }
  Tensors backward(const Tensors& out) override { return {swapped(out[0])}; }

 private:
  static Tensor swapped(const Tensor& x) {
    const std::int64_t batch = x.shape()[0], rows = x.shape()[1], columns = x.shape()[2];
    const Tensor y = Tensor::empty({batch, columns, rows}, x.dtype());
    for_real(x.dtype(), [&]<class Real>(Real) {
      const Real* from = x.data<Real>();
      Real* to = y.data<Real>();
      for (std::int64_t b = 0; b < batch; ++b, from += rows * columns, to += rows * columns) {
        for (std::int64_t i = 0; i < rows; ++i) {
          for (std::int64_t j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
        }
      }
    });
    return y;
  }
};

class TokenRange final : public Op {
 public:
  TokenRange(std::int64_t begin, std::int64_t end) : begin_(begin), end_(end) {}
  std::string_view name() const override { return "token_range"; }

  Tensors forward(const Tensors& in) override {
    x_ = in[0].shape();
    require(x_.rank() == 3 && begin_ >= 0 && begin_ < end_ && end_ <= x_[1], "x [batch, time, channels] with the range",
            in);
    const Tensor y = Tensor::empty({x_[0], end_ - begin_, x_[2]}, in[0].dtype());
    for_real(y.dtype(), [&]<class Real>(Real) {
      for (std::int64_t b = 0; b < x_[0]; ++b)
        std::copy_n(in[0].data<Real>() + offset(b), count(), y.data<Real>() + b * count());
    });
    return {y};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor dx = Tensor::zeros(x_, out[0].dtype());
    for_real(dx.dtype(), [&]<class Real>(Real) {
      for (std::int64_t b = 0; b < x_[0]; ++b)
        std::copy_n(out[0].data<Real>() + b * count(), count(), dx.data<Real>() + offset(b));
    });
    return {dx};
  }

 private:
  std::int64_t count() const { return (end_ - begin_) * x_[2]; }
  std::int64_t offset(std::int64_t b) const { return (b * x_[1] + begin_) * x_[2]; }
  std::int64_t begin_, end_;
  Shape x_;
};

class ReorderTokens final : public Op {
 public:
  explicit ReorderTokens(const std::vector<std::int64_t>& order) : order_(order) {}
  std::string_view name() const override { return "reorder_tokens"; }
  Tensors forward(const Tensors& in) override {
    require(in[0].shape().rank() == 3 && in[0].shape()[1] == static_cast<std::int64_t>(order_.size()),
            "x [batch, time, channels] with as many tokens as the order", in);
    return {reordered(in[0], order_)};
  }
  Tensors backward(const Tensors& out) override { return {reordered(out[0], inverse_order(order_))}; }

 private:
  static Tensor reordered(const Tensor& x, const std::vector<std::int64_t>& order) {
    const std::int64_t time = x.shape()[1], channels = x.shape()[2];
    Tensor y = like(x);
    for_real(x.dtype(), [&]<class Real>(Real) {
      for (std::int64_t row = 0; row < x.shape().rows(); ++row) {
        const std::int64_t source = row - row % time + order[static_cast<std::size_t>(row % time)];
        std::copy_n(x.data<Real>() + source * channels, channels, y.data<Real>() + row * channels);
      }
    });
    return y;
  }
  std::vector<std::int64_t> order_;
};

class MeanOfTokens final : public Op {
 public:
  std::string_view name() const override { return "mean_of_tokens"; }
  Tensors forward(const Tensors& in) override {
    const Shape& x = in[0].shape();
    require(x.rank() == 3 && x[1] > 0, "x [batch, time, channels]", in);
    size_ = {x[0], x[1], x[2]};
    const Tensor y = Tensor::empty({x[0], x[2]}, in[0].dtype());
    for_real(y.dtype(),
             [&]<class Real>(Real) { kernels::sum_tokens<Real>(size_, share(), in[0].data<Real>(), y.data<Real>()); });
    return {y};
  }
  Tensors backward(const Tensors& out) override {
    const Tensor dx = Tensor::empty({size_.batch, size_.time, size_.channels}, out[0].dtype());
    for_real(dx.dtype(), [&]<class Real>(Real) {
      kernels::spread_tokens<Real>(size_, share(), out[0].data<Real>(), dx.data<Real>());
    });
    return {dx};
  }

 private:
  double share() const { return 1.0 / static_cast<double>(size_.time); }
  kernels::SequenceSize size_;
};

// Inputs x, branch, channel.
class AddBranch final : public Op {
 public:
  explicit AddBranch(Tensor sample) : sample_(std::move(sample)) {}
  std::string_view name() const override { return "add_branch"; }

  Tensors forward(const Tensors& in) override {
    const Shape& x = in[0].shape();
    require(x.rank() == 3 && in[1].shape() == x && (!in[2].defined() || in[2].elements() == x[2]) &&
                (!sample_.defined() || sample_.elements() == x[0]),
            "x and branch [batch, time, channels], and a factor per channel or none", in);
    size_ = {x[0], x[1], x[2]};
    if (wants(1)) channel_ = in[2];
    if (wants(2)) branch_ = save(1, in[1]);
    const Tensor y = like(in[0]);
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::add_branch<Real>(size_, in[0].data<Real>(), in[1].data<Real>(), data_or_null<Real>(in[2]),
                                data_or_null<Real>(sample_), y.data<Real>());
    });
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    Tensors grads = {out[0], Tensor(), Tensor()};
    if (!wants(1) && !wants(2)) return grads;
    const Tensor scaled = sample_.defined() ? like(out[0]) : out[0];
    const kernels::RowsSize rows = {size_.rows(), size_.channels};
    if (wants(2)) grads[2] = Tensor::empty({size_.channels}, scaled.dtype());
    grads[1] = channel_.defined() ? like(scaled) : scaled;
    const Tensor branch = wants(2) ? branch_.get() : Tensor();
    for_real(scaled.dtype(), [&]<class Real>(Real) {
      if (sample_.defined())
        kernels::scale_samples<Real>(size_, out[0].data<Real>(), sample_.data<Real>(), scaled.data<Real>());
      if (wants(2))
        kernels::sum_rows_of_product<Real>(rows, scaled.data<Real>(), branch.data<Real>(), grads[2].data<Real>());
      if (channel_.defined())
        kernels::multiply_vector<Real>(rows, scaled.data<Real>(), channel_.data<Real>(), grads[1].data<Real>());
    });
    return grads;
  }

 private:
  Tensor sample_, channel_;
  Saved branch_;
  kernels::SequenceSize size_;
};

}  // namespace

Var image_patches(const Var& images, std::int64_t patch) { return run_op_one<ImagePatches>({images}, patch); }

Var resize_grid(const Var& x, const GridSize& from, const GridSize& to, const std::string& mode,
                const GridSize& whole) {
  check_invariant(mode == "bicubic" || mode == "bilinear", "a grid is resized bicubically or bilinearly");
  check_invariant(from.tokens() > 0 && to.tokens() > 0, "grids have tokens");
  const GridSize all = whole.tokens() > 0 ? whole : to;
  if (from == to && to == all) return x;
  return run_op_one<ResizeGrid>({x}, from, to, all, mode == "bicubic");
}

Var reshape(const Var& x, const Shape& shape) { return x.shape() == shape ? x : run_op_one<Reshape>({x}, shape); }
Var channels_first(const Var& x) { return run_op_one<ChannelsFirst>({x}); }
Var token_range(const Var& x, std::int64_t begin, std::int64_t end) {
  return x.shape().rank() == 3 && begin == 0 && end == x.shape()[1] ? x : run_op_one<TokenRange>({x}, begin, end);
}
Var reorder_tokens(const Var& x, const std::vector<std::int64_t>& order) {
  return run_op_one<ReorderTokens>({x}, order);
}
Var mean_of_tokens(const Var& x) { return run_op_one<MeanOfTokens>({x}); }

Var add_branch(const Var& x, const Var& branch, const Var& channel, const Tensor& sample) {
  return run_op_one<AddBranch>({x, branch, channel}, sample);
}

std::vector<std::int64_t> inverse_order(const std::vector<std::int64_t>& order) {
  std::vector<std::int64_t> inverse(order.size());
  for (std::size_t j = 0; j < order.size(); ++j)
    inverse[static_cast<std::size_t>(order[j])] = static_cast<std::int64_t>(j);
  return inverse;
}

}  // namespace rwkvlab
