#include <fmt/format.h>

#include "bench/kernel_cases.h"
#include "kernels/recurrence_flops.h"
#include "kernels/wkv6.h"
#include "kernels/wkv7.h"

namespace rwkvlab {
namespace {

using kernels::Index;
using O = KernelOperands;
using Run = std::function<void()>;
using small_workload::all, small_workload::batch, small_workload::context, small_workload::width;

kernels::Wkv6Inputs<float> wkv6_inputs(O& o, Index head_size, bool fixed_decay) {
  kernels::Wkv6Inputs<float> in;
  in.size = {batch, context, width / head_size, head_size};
  in.receptance = o.read(all), in.key = o.read(all), in.value = o.read(all);
  in.decay = o.read(fixed_decay ? width : all), in.fixed_decay = fixed_decay, in.bonus = o.read(width);
  return in;
}

template <bool fixed_decay>
Run wkv6_forward(O& o, Index head_size) {
  kernels::Wkv6Forward<float> call;
  call.in = wkv6_inputs(o, head_size, fixed_decay);
  const kernels::Wkv6Size& size = call.in.size;
  o.computes(kernels::wkv6_flops(batch, context, size.heads, head_size, false));
  call.y = o.write(all), call.kept_states = o.write(size.state_elements() * size.chunks());
  return [=] { kernels::wkv6_forward(call); };
}

template <bool fixed_decay>
Run wkv6_backward(O& o, Index head_size) {
  kernels::Wkv6Backward<float> call;
  call.in = wkv6_inputs(o, head_size, fixed_decay);
  const kernels::Wkv6Size& size = call.in.size;
  o.computes(kernels::wkv6_flops(batch, context, size.heads, head_size, true));
  call.kept_states = o.read(size.state_elements() * size.chunks()), call.grad_y = o.read(all);
  call.grad_receptance = o.write(all), call.grad_key = o.write(all), call.grad_value = o.write(all);
  call.grad_decay = o.write(fixed_decay ? width : all), call.grad_bonus = o.write(width);
  return [=] { kernels::wkv6_backward(call); };
}

// The state keeps its size: a = -b, both short.
Run wkv7_forward(O& o, Index head_size) {
  kernels::Wkv7Forward<float> call = {};
  call.size = {batch, context, width / head_size, head_size, head_size};
  o.computes(kernels::wkv7_flops(batch, context, call.size.heads, head_size, head_size, true, false));
  call.receptance = o.read(all), call.log_decay = o.read(all, -0.6, -0.1);
  call.key = o.read(all), call.value = o.read(all), call.a = o.read(all, -0.1, 0.1), call.b = o.read(all, -0.1, 0.1);
  call.y = o.write(all), call.read = o.write(all);
  call.kept_states = o.write(call.size.state_elements() * call.size.chunks());
  return [=] { kernels::wkv7_forward(call); };
}

Run wkv7_backward(O& o, Index head_size) {
  kernels::Wkv7Backward<float> call = {};
  call.size = {batch, context, width / head_size, head_size, head_size};
  o.computes(kernels::wkv7_flops(batch, context, call.size.heads, head_size, head_size, true, true));
  call.receptance = o.read(all), call.log_decay = o.read(all, -0.6, -0.1);
  call.key = o.read(all), call.value = o.read(all), call.a = o.read(all, -0.1, 0.1), call.b = o.read(all, -0.1, 0.1);
  call.read = o.read(all), call.kept_states = o.read(call.size.state_elements() * call.size.chunks());
  call.grad_y = o.read(all);
  call.grad_receptance = o.write(all), call.grad_log_decay = o.write(all), call.grad_key = o.write(all);
  call.grad_value = o.write(all), call.grad_a = o.write(all), call.grad_b = o.write(all);
  return [=] { kernels::wkv7_backward(call); };
}

struct HeadRow {
  const char *name, *pass;
  Run (*prepare)(O&, Index head_size);
};

const HeadRow head_rows[] = {{"wkv5", "forward", wkv6_forward<true>},  {"wkv5", "backward", wkv6_backward<true>},
                             {"wkv6", "forward", wkv6_forward<false>}, {"wkv6", "backward", wkv6_backward<false>},
                             {"wkv7", "forward", wkv7_forward},        {"wkv7", "backward", wkv7_backward}};

}  // namespace

std::vector<KernelCase> matrix_state_cases() {
  std::vector<KernelCase> cases;
  for (const HeadRow& row : head_rows) {
    for (const Index size : {32, 64, 128}) {
      cases.push_back({fmt::format("{} heads of {} {}", row.name, size, row.pass),
                       [prepare = row.prepare, size](O& o) { return prepare(o, size); }});
    }
  }
  return cases;
}

}  // namespace rwkvlab
