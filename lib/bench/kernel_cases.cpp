// Each row of the tables names a kernel and fills in its call; O holds its operands.
#include "bench/kernel_cases.h"

#include <memory>

#include "kernels/activation.h"
#include "kernels/adam.h"
#include "kernels/causal_attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/group_norm.h"
#include "kernels/layer_norm.h"
#include "kernels/matmul.h"
#include "kernels/recurrence_flops.h"
#include "kernels/reduce.h"
#include "kernels/rms_norm.h"
#include "kernels/token_lerp.h"
#include "kernels/token_shift.h"
#include "kernels/wkv4.h"

namespace rwkvlab {
namespace {

using kernels::Activation;
using kernels::Index;
using O = KernelOperands;
using Run = std::function<void()>;

using small_workload::all, small_workload::batch, small_workload::context, small_workload::width;
constexpr Index hidden = 4 * width, symbols = 256, head = 64;
constexpr kernels::SequenceSize sequence = {batch, context, width};
constexpr kernels::RowsSize rows = {batch * context, width};
constexpr Index all_hidden = batch * context * hidden;
constexpr Index parameters = 5 << 20;  // Of the small models.

struct Row {
  const char* name;
  Run (*prepare)(O&);
};

// Several arrays of one size, and the table of their addresses that kernels take; shared by copies.
template <class Pointer, class Make>
std::shared_ptr<std::vector<Pointer>> several(Index count, Make make) {
  auto arrays = std::make_shared<std::vector<Pointer>>();
  for (Index i = 0; i < count; ++i) arrays->push_back(make());
  return arrays;
}

std::shared_ptr<std::vector<const float*>> inputs(O& o, Index count, Index size) {
  return several<const float*>(count, [&] { return o.read(size); });
}
std::shared_ptr<std::vector<float*>> outputs(O& o, Index count, Index size) {
  return several<float*>(count, [&] { return o.write(size); });
}

Run token_mix(O& o, bool is_backward) {
  const float* const x = o.read(all);
  const auto mixes = inputs(o, 4, width);
  if (!is_backward) {
    const auto out = outputs(o, 4, all);
    return [=] { kernels::token_mix_forward<float>(sequence, x, nullptr, *mixes, *out); };
  }
  const auto grads = inputs(o, 4, all);
  float* const grad_x = o.write(all);
  const auto grad_mixes = outputs(o, 4, width);
  return
      [=] { kernels::token_mix_backward<float>(sequence, x, nullptr, *mixes, *grads, grad_x, nullptr, *grad_mixes); };
}

Run token_lerp(O& o, bool is_backward) {
  constexpr Index count = 5;
  kernels::TokenLerp<float> in;
  in.size = sequence;
  in.outputs = count;
  in.x = o.read(all);
  in.correction = o.read(count * all);
  const auto weights = inputs(o, count, width);
  in.weights = weights->data();
  if (!is_backward) {
    const auto out = outputs(o, count, all);
    return [in, weights, out] { kernels::token_lerp_forward(in, out->data()); };
  }
  const auto grads = inputs(o, count, all);
  const auto grad_weights = outputs(o, count, width);
  kernels::TokenLerpBackward<float> call;
  call.in = in;
  call.grad_outputs = grads->data();
  call.grad_x = o.write(all);
  call.grad_weights = grad_weights->data();
  call.grad_correction = o.write(count * all);
  return [call, weights, grads, grad_weights] { kernels::token_lerp_backward(call); };
}

kernels::LayerNormForward<float> layer_norm(O& o, bool with_residual) {
  kernels::LayerNormForward<float> call = {};
  call.size = rows;
  call.epsilon = 1e-5;
  call.x = o.read(all);
  call.branch = with_residual ? o.read(all) : nullptr;
  call.weight = o.read(width);
  call.bias = o.read(width);
  call.sum = with_residual ? o.write(all) : nullptr;
  call.y = o.write(all);
  call.mean = o.write(rows.rows);
  call.rstd = o.write(rows.rows);
  return call;
}

kernels::LayerNormBackward<float> layer_norm_backward(O& o, bool with_residual) {
  kernels::LayerNormBackward<float> call = {};
  call.size = rows;
  call.x = o.read(all);
  call.weight = o.read(width);
  call.mean = o.read(rows.rows);
  call.rstd = o.read(rows.rows, 1, 2);
  call.grad_y = o.read(all);
  call.residual_grad = with_residual ? o.read(all) : nullptr;
  call.grad_x = o.write(all);
  call.grad_weight = o.write(width);
  call.grad_bias = o.write(width);
  return call;
}

template <Activation kind>
Run activation(O& o) {
  const float* const x = o.read(all_hidden);
  float* const y = o.write(all_hidden);
  return [=] { kernels::activation_forward(kind, all_hidden, x, y); };
}

template <Activation kind>
Run activation_backward(O& o) {
  const float *const x = o.read(all_hidden), *const dy = o.read(all_hidden);
  float* const dx = o.write(all_hidden);
  return [=] { kernels::activation_backward(kind, all_hidden, x, dy, dx); };
}

// C [m, n] = op(A) op(B), in float32 or bfloat16.
template <Index m, Index n, Index k, bool transpose_a, bool transpose_b, bool bfloat16>
Run product(O& o) {
  kernels::MatmulCall call;
  call.m = m, call.n = n, call.k = k, call.transpose_a = transpose_a, call.transpose_b = transpose_b;
  o.computes(call.flops(), bfloat16);
  if constexpr (bfloat16) {
    const kernels::Bfloat16 *const a = o.read_bfloat16(m * k), *const b = o.read_bfloat16(k * n);
    float* const c = o.write(m * n);
    return [=] { kernels::batched_matmul(call, a, b, c); };
  } else {
    const float *const a = o.read(m * k), *const b = o.read(k * n);
    float* const c = o.write(m * n);
    return [=] { kernels::batched_matmul(call, a, b, c); };
  }
}

constexpr kernels::CausalAttentionSize attention_size = {batch, context, context, width / head, head};

// Products on and below the diagonal: two forward, five backward.
double attention_flops(bool is_backward) {
  return (is_backward ? 5.0 : 2.0) * static_cast<double>(batch * context * context * width);
}

const Row plain_rows[] = {
    {"wkv4 forward",
     [](O& o) -> Run {
       o.computes(kernels::wkv4_flops(sequence, false));
       kernels::Wkv4Forward<float> call = {};
       call.size = sequence;
       call.time_decay = o.read(width), call.time_first = o.read(width);
       call.key = o.read(all), call.value = o.read(all), call.y = o.write(all);
       return [=] { kernels::wkv4_forward(call); };
     }},
    {"wkv4 backward",
     [](O& o) -> Run {
       o.computes(kernels::wkv4_flops(sequence, true));
       kernels::Wkv4Backward<float> call = {};
       call.size = sequence;
       call.time_decay = o.read(width), call.time_first = o.read(width);
       call.key = o.read(all), call.value = o.read(all), call.grad_y = o.read(all);
       call.grad_time_decay = o.write(width), call.grad_time_first = o.write(width);
       call.grad_key = o.write(all), call.grad_value = o.write(all);
       return [=] { kernels::wkv4_backward(call); };
     }},
    {"layer_norm forward",
     [](O& o) -> Run { return [call = layer_norm(o, false)] { kernels::layer_norm_forward(call); }; }},
    {"layer_norm backward",
     [](O& o) -> Run { return [call = layer_norm_backward(o, false)] { kernels::layer_norm_backward(call); }; }},
    {"add_layer_norm forward",
     [](O& o) -> Run { return [call = layer_norm(o, true)] { kernels::layer_norm_forward(call); }; }},
    {"add_layer_norm backward",
     [](O& o) -> Run { return [call = layer_norm_backward(o, true)] { kernels::layer_norm_backward(call); }; }},
    {"group_norm forward",
     [](O& o) -> Run {
       kernels::GroupNormForward<float> call = {};
       call.size = rows, call.groups = width / head, call.epsilon = 1e-5;
       call.x = o.read(all), call.weight = o.read(width), call.bias = o.read(width), call.y = o.write(all);
       call.mean = o.write(rows.rows * call.groups), call.rstd = o.write(rows.rows * call.groups);
       return [=] { kernels::group_norm_forward(call); };
     }},
    {"group_norm backward",
     [](O& o) -> Run {
       kernels::GroupNormBackward<float> call = {};
       call.size = rows, call.groups = width / head;
       call.x = o.read(all), call.weight = o.read(width), call.grad_y = o.read(all);
       call.mean = o.read(rows.rows * call.groups), call.rstd = o.read(rows.rows * call.groups, 1, 2);
       call.grad_x = o.write(all), call.grad_weight = o.write(width), call.grad_bias = o.write(width);
       return [=] { kernels::group_norm_backward(call); };
     }},
    {"rms_norm forward",
     [](O& o) -> Run {
       kernels::RmsNormForward<float> call = {};
       call.size = rows, call.groups = 1, call.epsilon = 1e-5, call.factor = 1, call.weights = width;
       call.x = o.read(all), call.weight = o.read(width), call.y = o.write(all), call.rstd = o.write(rows.rows);
       return [=] { kernels::rms_norm_forward(call); };
     }},
    {"token_shift forward",
     [](O& o) -> Run {
       const float* const x = o.read(all);
       float* const y = o.write(all);
       return [=] { kernels::token_shift_forward<float>(sequence, x, nullptr, y); };
     }},
    {"token_shift backward",
     [](O& o) -> Run {
       const float* const dy = o.read(all);
       float* const dx = o.write(all);
       return [=] { kernels::token_shift_backward<float>(sequence, dy, dx, nullptr); };
     }},
    {"token_mix of 4 forward", [](O& o) -> Run { return token_mix(o, false); }},
    {"token_mix of 4 backward", [](O& o) -> Run { return token_mix(o, true); }},
    {"token_lerp of 5 forward", [](O& o) -> Run { return token_lerp(o, false); }},
    {"token_lerp of 5 backward", [](O& o) -> Run { return token_lerp(o, true); }},
    {"squared_relu forward", activation<Activation::squared_relu>},
    {"squared_relu backward", activation_backward<Activation::squared_relu>},
    {"silu forward", activation<Activation::silu>},
    {"silu backward", activation_backward<Activation::silu>},
    {"gelu forward", activation<Activation::gelu>},
    {"gelu backward", activation_backward<Activation::gelu>},
    {"sigmoid gate forward",
     [](O& o) -> Run {
       const float *const gate = o.read(all), *const value = o.read(all);
       float* const y = o.write(all);
       return [=] { kernels::gate_forward(Activation::sigmoid, all, gate, value, y); };
     }},
    {"sigmoid gate backward",
     [](O& o) -> Run {
       const float *const gate = o.read(all), *const value = o.read(all), *const dy = o.read(all);
       float *const grad_gate = o.write(all), *const grad_value = o.write(all);
       return [=] { kernels::gate_backward(Activation::sigmoid, all, gate, value, dy, grad_gate, grad_value); };
     }},
    {"add",
     [](O& o) -> Run {
       const float *const a = o.read(all), *const b = o.read(all);
       float* const c = o.write(all);
       return [=] { kernels::add(all, a, b, c); };
     }},
    {"embedding forward",
     [](O& o) -> Run {
       const std::int64_t* const tokens = o.tokens(rows.rows, symbols);
       const float* const table = o.read(symbols * width);
       float* const y = o.write(all);
       return [=] { kernels::embedding_forward(rows.rows, width, tokens, table, y); };
     }},
    {"embedding backward",
     [](O& o) -> Run {
       const std::int64_t* const tokens = o.tokens(rows.rows, symbols);
       const float* const dy = o.read(all);
       float* const grad_table = o.write(symbols * width);
       return [=] { kernels::embedding_backward(rows.rows, width, symbols, tokens, dy, grad_table); };
     }},
    {"cross_entropy forward",
     [](O& o) -> Run {
       constexpr kernels::RowsSize size = {rows.rows, symbols};
       const float* const logits = o.read(size.elements());
       const std::int64_t* const targets = o.tokens(size.rows, symbols);
       float *const losses = o.write(size.rows), *const normaliser = o.write(size.rows);
       return [=] { kernels::cross_entropy_forward(size, logits, targets, losses, normaliser); };
     }},
    {"cross_entropy backward",
     [](O& o) -> Run {
       constexpr kernels::RowsSize size = {rows.rows, symbols};
       const float *const logits = o.read(size.elements()), *const normaliser = o.read(size.rows, 5, 6);
       const std::int64_t* const targets = o.tokens(size.rows, symbols);
       float* const grad = o.write(size.elements());
       return [=] { kernels::cross_entropy_backward(size, logits, targets, normaliser, 1e-3, 1e-4, grad); };
     }},
    {"causal_attention forward",
     [](O& o) -> Run {
       o.computes(attention_flops(false));
       kernels::CausalAttentionForward<float> call = {};
       call.size = attention_size;
       call.query = o.read(all), call.key = o.read(all), call.value = o.read(all), call.y = o.write(all);
       call.softmax = o.write(2 * batch * context * (width / head));
       return [=] { kernels::causal_attention_forward(call); };
     }},
    {"causal_attention backward",
     [](O& o) -> Run {
       o.computes(attention_flops(true));
       kernels::CausalAttentionBackward<float> call = {};
       call.size = attention_size;
       call.query = o.read(all), call.key = o.read(all), call.value = o.read(all), call.grad_y = o.read(all);
       call.softmax = o.read(2 * batch * context * (width / head), 0, 0.1);
       call.grad_query = o.write(all), call.grad_key = o.write(all), call.grad_value = o.write(all);
       return [=] { kernels::causal_attention_backward(call); };
     }},
    {"adam",
     [](O& o) -> Run {
       const float* const gradient = o.read(parameters);
       float *const value = o.update(parameters), *const m = o.update(parameters), *const v = o.update(parameters);
       kernels::AdamStep step;
       step.learning_rate = 1e-6;
       return [=] { kernels::adam_update(parameters, step, gradient, value, m, v); };
     }},
    {"sum_of_squares",
     [](O& o) -> Run {
       const float* const gradient = o.read(parameters);
       return [=] { static_cast<void>(kernels::sum_of_squares(parameters, gradient)); };
     }},
    {"product width to width", product<rows.rows, width, width, false, true, false>},
    {"product width to hidden", product<rows.rows, hidden, width, false, true, false>},
    {"product hidden to width", product<rows.rows, width, hidden, false, true, false>},
    {"product gradient of input", product<rows.rows, width, width, false, false, false>},
    {"product gradient of weight", product<width, width, rows.rows, true, false, false>},
};

const Row bfloat16_rows[] = {
    {"bfloat16 round",
     [](O& o) -> Run {
       const float* const x = o.read(all);
       kernels::Bfloat16* const y = o.write_bfloat16(all);
       return [=] { kernels::round_to_bfloat16(all, x, y); };
     }},
    {"bfloat16 product width to width", product<rows.rows, width, width, false, true, true>},
    {"bfloat16 product width to hidden", product<rows.rows, hidden, width, false, true, true>},
    {"bfloat16 product hidden to width", product<rows.rows, width, hidden, false, true, true>},
    {"bfloat16 product gradient of input", product<rows.rows, width, width, false, false, true>},
    {"bfloat16 product gradient of weight", product<width, width, rows.rows, true, false, true>},
};

}  // namespace

std::vector<KernelCase> kernel_cases() {
  std::vector<KernelCase> cases = matrix_state_cases();
  for (KernelCase& image : image_cases()) cases.push_back(std::move(image));
  for (const Row& row : plain_rows) cases.push_back({row.name, row.prepare});
  if (kernels::has_bfloat16_products()) {
    for (const Row& row : bfloat16_rows) cases.push_back({row.name, row.prepare});
  }
  return cases;
}

}  // namespace rwkvlab
