// The kernels of Vision-RWKV at the width of its smallest model (arXiv:2403.02308).
#include <fmt/format.h>

#include <memory>

#include "bench/kernel_cases.h"
#include "kernels/bi_wkv.h"
#include "kernels/recurrence_flops.h"
#include "kernels/token_shift.h"

namespace rwkvlab {
namespace {

using kernels::Index;
using O = KernelOperands;
using Run = std::function<void()>;

constexpr Index channels = 192, mixes = 3;

Run bi_wkv(O& o, const kernels::SequenceSize& size, bool is_backward) {
  o.computes(kernels::bi_wkv_flops(size, is_backward));
  kernels::BiWkvInputs<float> in;
  in.size = size;
  // Decays as in training: up to 5 across the image.
  const double steepest = 5.0 / static_cast<double>(size.time);
  in.decay = o.read(channels, -steepest, steepest), in.first = o.read(channels);
  in.key = o.read(size.elements()), in.value = o.read(size.elements());
  float* const y = o.write(size.elements());
  if (!is_backward) return [=] { kernels::bi_wkv_forward(in, y); };
  kernels::BiWkvTrace<float> trace;
  trace.inverse = o.write(size.elements());
  const std::size_t bytes = kernels::bi_wkv_start_bytes<float>(size);
  trace.starts = reinterpret_cast<std::byte*>(o.write(static_cast<Index>(bytes / sizeof(float))));
  kernels::bi_wkv_forward(in, y, trace);
  kernels::BiWkvGradients<float> gradients;
  gradients.y = y;
  gradients.grad_y = o.read(size.elements());
  gradients.grad_decay = o.write(channels), gradients.grad_first = o.write(channels);
  gradients.grad_key = o.write(size.elements()), gradients.grad_value = o.write(size.elements());
  return [=] { kernels::bi_wkv_backward(in, trace, gradients); };
}

// What token_mix reads and writes, with the shift that the tables hold.
struct Mixes {
  kernels::SequenceSize size;
  TokenShift shift;
  const float* x;
  std::vector<const float*> weights, grads;
  std::vector<float*> outputs, grad_weights;
  float* grad_x;

  void forward() const { kernels::token_mix_forward<float>(size, x, nullptr, weights, outputs, &shift); }
  void backward() const {
    kernels::token_mix_backward<float>(size, x, nullptr, weights, grads, grad_x, nullptr, grad_weights, &shift);
  }
};

Run q_shift(O& o, const kernels::SequenceSize& size, Index side, bool is_backward) {
  auto call = std::make_shared<Mixes>(
      Mixes{size, TokenShift::q_shift({side, side, 0}, channels), nullptr, {}, {}, {}, {}, nullptr});
  call->x = o.read(size.elements());
  for (Index i = 0; i < mixes; ++i) {
    call->weights.push_back(o.read(channels));
    if (is_backward) {
      call->grads.push_back(o.read(size.elements()));
      call->grad_weights.push_back(o.write(channels));
    } else {
      call->outputs.push_back(o.write(size.elements()));
    }
  }
  if (!is_backward) return [call] { call->forward(); };
  call->grad_x = o.write(size.elements());
  return [call] { call->backward(); };
}

}  // namespace

std::vector<KernelCase> image_cases() {
  std::vector<KernelCase> cases;
  // About as many tokens in images of every size, so that times show what a token costs.
  for (const auto& [images, side] : {std::pair<Index, Index>{84, 14}, {21, 28}, {5, 56}, {1, 128}}) {
    const kernels::SequenceSize size = {images, side * side, channels};
    for (const bool is_backward : {false, true}) {
      const char* const pass = is_backward ? "backward" : "forward";
      cases.push_back({fmt::format("bi_wkv {} x {} x {} tokens {}", images, side, side, pass),
                       [=](O& o) { return bi_wkv(o, size, is_backward); }, fmt::format("bi_wkv {}", pass),
                       static_cast<double>(images * side * side)});
    }
  }
  for (const bool is_backward : {false, true}) {
    cases.push_back({fmt::format("q_shift mix of {} {}", mixes, is_backward ? "backward" : "forward"), [=](O& o) {
                       return q_shift(o, {16, 14 * 14, channels}, 14, is_backward);
                     }});
  }
  return cases;
}

}  // namespace rwkvlab
