// The steps and their gradients are in kernels/recurrent.h. The parameters' gradients are gathered over all steps at
// once: ∂W = Σ_t ∂r_t h_{t-1}ᵀ is one product, ∂b = Σ_t ∂r_t one sum.
#include "autograd/ops/recurrent.h"

#include <algorithm>

#include "autograd/ops/common.h"
#include "autograd/ops/matmul.h"
#include "kernels/elementwise.h"
#include "kernels/recurrent.h"

namespace rwkvlab {
namespace {

using kernels::Cell;

// Inputs input, weight, bias, hidden, memory (of the LSTM); outputs y, memories.
class Recurrent final : public Op {
 public:
  explicit Recurrent(Cell cell) : cell_(cell) {}
  std::string_view name() const override { return cell_ == Cell::lstm ? "lstm" : "gru"; }

  Tensors forward(const Tensors& in) override {
    check(in);
    const bool has_memory = cell_ == Cell::lstm;
    const Tensor y = Tensor::empty({size_.batch, size_.time, size_.channels}, in[0].dtype());
    const Tensor memories = has_memory ? like(y) : Tensor();
    const Tensor gates = Tensor::empty({size_.batch, size_.time, 4, size_.channels}, y.dtype());
    kernels::note_recurrent(cell_, size_, false);
    for_real(y.dtype(), [&]<class Real>(Real) {
      kernels::recurrent_forward<Real>({cell_, size_, in[0].data<Real>(), in[1].data<Real>(), in[2].data<Real>(),
                                        data_or_null<Real>(in[3]), data_or_null<Real>(in[4]), y.data<Real>(),
                                        data_or_null<Real>(memories), gates.data<Real>()});
    });
    if (wants_any()) {
      weight_ = in[1], hidden_ = in[3], memory_ = in[4];
      bias_shape_ = in[2].shape();
      y_ = y, memories_ = memories, gates_ = gates;
    }
    return {y, memories};
  }

  Tensors backward(const Tensors& out) override {
    const Tensor dy = out[0].defined() ? out[0] : Tensor::zeros(y_.shape(), y_.dtype());
    const Shape products = y_.shape().with_last(kernels::blocks_of(cell_) * size_.channels);
    Tensors grads(5);
    grads[0] = Tensor::empty(products, dy.dtype());
    const Tensor recurrent = cell_ == Cell::lstm ? grads[0] : like(grads[0]);
    if (wants(3)) grads[3] = like(hidden_);
    if (wants(4)) grads[4] = like(memory_);
    kernels::note_recurrent(cell_, size_, true);
    for_real(dy.dtype(), [&]<class Real>(Real) {
      kernels::RecurrentBackward<Real> call;
      call.cell = cell_;
      call.size = size_;
      call.weight = weight_.data<Real>();
      call.hidden = data_or_null<Real>(hidden_);
      call.memory = data_or_null<Real>(memory_);
      call.y = y_.data<Real>();
      call.memories = data_or_null<Real>(memories_);
      call.gates = gates_.data<Real>();
      call.grad_y = dy.data<Real>();
      call.grad_memories = data_or_null<Real>(out[1]);
      call.grad_input = grads[0].data<Real>();
      call.grad_recurrent = recurrent.data<Real>();
      call.grad_hidden = data_or_null<Real>(grads[3]);
      call.grad_memory = data_or_null<Real>(grads[4]);
      kernels::recurrent_backward(call);
    });
    const std::int64_t rows = size_.rows(), width = products[2];
    if (wants(1)) {
      grads[1] = like(weight_);
      multiply_into({width, size_.channels, rows}, recurrent, true, states_before(), false, grads[1]);
    }
    if (wants(2)) {
      grads[2] = Tensor::empty(bias_shape_, dy.dtype());
      for_real(dy.dtype(), [&]<class Real>(Real) {
        kernels::sum_rows<Real>({rows, width}, recurrent.data<Real>(), grads[2].data<Real>());
      });
    }
    return grads;
  }

 private:
  void check(const Tensors& in) {
    const std::int64_t blocks = kernels::blocks_of(cell_);
    const Shape &input = in[0].shape(), &weight = in[1].shape();
    const bool shaped = input.rank() == 3 && weight.rank() == 2 && weight[0] == blocks * weight[1] &&
                        input[2] == weight[0] && in[2].elements() == weight[0];
    const auto fits = [&](const Tensor& state) {
      return !state.defined() || state.shape() == Shape{input[0], weight[1]};
    };
    require(shaped && fits(in[3]) && fits(in[4]),
            cell_ == Cell::lstm
                ? "input [batch, time, 4 H], weight [4 H, H], bias [4 H] and states [batch, H] or none"
                : "input [batch, time, 3 H], weight [3 H, H], bias [3 H] and a state [batch, H] or none",
            in);
    size_ = {input[0], input[1], weight[1]};
  }

  // h_{t-1} for every t, [batch, time, H].
  Tensor states_before() const {
    const Tensor result = like(y_);
    for_real(y_.dtype(), [&]<class Real>(Real) {
      const std::int64_t channels = size_.channels, length = size_.time * channels;
      for (std::int64_t b = 0; b < size_.batch; ++b) {
        Real* const to = result.data<Real>() + b * length;
        if (hidden_.defined()) {
          std::copy_n(hidden_.data<Real>() + b * channels, channels, to);
        } else {
          std::fill_n(to, channels, Real(0));
        }
        std::copy_n(y_.data<Real>() + b * length, length - channels, to + channels);
      }
    });
    return result;
  }

  Cell cell_;
  kernels::SequenceSize size_;
  Shape bias_shape_;
  Tensor weight_, hidden_, memory_, y_, memories_, gates_;
};

}  // namespace

LstmResult lstm(const Var& input, const Var& weight, const Var& bias, const Var& hidden, const Var& memory) {
  auto outputs = run_op(std::make_unique<Recurrent>(Cell::lstm), {input, weight, bias, hidden, memory});
  return {outputs[0], outputs[1]};
}

Var gru(const Var& input, const Var& weight, const Var& bias, const Var& hidden) {
  return run_op(std::make_unique<Recurrent>(Cell::gru), {input, weight, bias, hidden, Var()})[0];
}

}  // namespace rwkvlab
