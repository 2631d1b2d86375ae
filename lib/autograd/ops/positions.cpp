// Rotation: y = R_t x, so ∂x = R_t⁻¹ ∂y, the rotation by the negative angle.
// Learned: y_t = x_t + p_{f+t}, so ∂x = ∂y and ∂p_{f+t} = Σ_batch ∂y_t, 0 in the other rows.
#include "autograd/ops/positions.h"

#include <cmath>

#include "autograd/ops/common.h"
#include "kernels/elementwise.h"
#include "kernels/rotary.h"

namespace rwkvlab {
namespace {

class RotateHeads final : public Op {
 public:
  explicit RotateHeads(Tensor table) : table_(std::move(table)) {}
  std::string_view name() const override { return "rotate_heads"; }

  Tensors forward(const Tensors& in) override {
    const Shape &x = in[0].shape(), &table = table_.shape();
    require(x.rank() == 3 && table.rank() == 2 && table[0] == x[1] && table[1] % 2 == 0 && x[2] % table[1] == 0,
            "x [batch, time, channels] and a table [time, head_size] whose even head_size divides the channels",
            {in[0], table_});
    return {rotated(in[0], false, like(in[0]))};
  }
  Tensors backward(const Tensors& out) override { return {rotated(out[0], true, reuse_or_new(out[0]))}; }

 private:
  Tensor rotated(const Tensor& x, bool backwards, const Tensor& into) const {
    for_real(x.dtype(), [&]<class Real>(Real) {
      kernels::rotate_heads<Real>({x.shape()[0], x.shape()[1], x.shape()[2]}, table_.shape()[1], table_.data<Real>(),
                                  backwards, x.data<Real>(), into.data<Real>());
    });
    return into;
  }
  Tensor table_;
};

// Inputs x, positions.
class AddPositions final : public Op {
 public:
  explicit AddPositions(std::int64_t first) : first_(first) {}
  std::string_view name() const override { return "add_positions"; }

  Tensors forward(const Tensors& in) override {
    const Shape& x = in[0].shape();
    positions_ = in[1].shape();
    require(x.rank() == 3 && positions_.rank() == 2 && positions_[1] == x[2] && first_ >= 0 &&
                first_ + x[1] <= positions_[0],
            "x [batch, time, channels] and positions [length, channels] for every token", in);
    const Tensor y = like(in[0]);
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::add_vector<Real>({x[0], x[1] * x[2]}, in[0].data<Real>(), in[1].data<Real>() + first_ * x[2],
                                y.data<Real>());
    });
    return {y};
  }

  Tensors backward(const Tensors& out) override {
    Tensors grads = {out[0], Tensor()};
    if (!wants(1)) return grads;
    const Shape& y = out[0].shape();
    grads[1] = Tensor::zeros(positions_, out[0].dtype());
    for_real(out[0].dtype(), [&]<class Real>(Real) {
      kernels::sum_rows<Real>({y[0], y[1] * y[2]}, out[0].data<Real>(), grads[1].data<Real>() + first_ * y[2]);
    });
    return grads;
  }

 private:
  std::int64_t first_;
  Shape positions_;
};

}  // namespace

Tensor rotary_table(std::int64_t first, std::int64_t time, std::int64_t head_size, double base, DType type) {
  Tensor table = Tensor::empty({time, head_size}, type);
  const std::int64_t half = head_size / 2;
  for_real(type, [&]<class Real>(Real) {
    for (std::int64_t j = 0; j < half; ++j) {
      const double rate = std::pow(base, -2.0 * static_cast<double>(j) / static_cast<double>(head_size));
      for (std::int64_t t = 0; t < time; ++t) {
        const double angle = static_cast<double>(first + t) * rate;
        table.data<Real>()[t * head_size + j] = static_cast<Real>(std::cos(angle));
        table.data<Real>()[t * head_size + half + j] = static_cast<Real>(std::sin(angle));
      }
    }
  });
  return table;
}

Var rotate_heads(const Var& x, const Tensor& table) { return run_op_one<RotateHeads>({x}, table); }
Var add_positions(const Var& x, const Var& positions, std::int64_t first) {
  return run_op_one<AddPositions>({x, positions}, first);
}

}  // namespace rwkvlab
