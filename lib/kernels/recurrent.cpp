#include "kernels/recurrent.h"

#include <algorithm>

#include "kernels/block_product.h"
#include "kernels/matmul.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/vector_math.h"

namespace rwkvlab::kernels {
namespace {

/// Rows of the batch that one thread carries: few enough for several threads, enough for the product of a step.
Index rows_per_piece(Index batch) { return std::clamp<Index>(piece_count(batch, 8), 4, 32); }

/// x before the first token, or 0 when there is none.
template <class Real>
RWKVLAB_INLINE Real start_or_zero(const Real* start, Index at) {
  return start != nullptr ? start[at] : Real(0);
}

/// One row and time step; `r` is the row's product W h without bias.
template <class Real>
RWKVLAB_INLINE void lstm_step(const RecurrentForward<Real>& call, Index row, Index t, const Real* r) {
  const Index channels = call.size.channels, token = row * call.size.time + t;
  const Real *a = call.input + token * 4 * channels, *bias = call.bias;
  const Real* before = t > 0 ? call.memories + (token - 1) * channels
                             : (call.memory != nullptr ? call.memory + row * channels : nullptr);
  Real *gates = call.gates + token * 4 * channels, *c = call.memories + token * channels,
       *y = call.y + token * channels;
#pragma omp simd
  for (Index j = 0; j < channels; ++j) {
    const auto sum = [=](Index block) RWKVLAB_INLINE_LAMBDA {
      return a[block * channels + j] + r[block * channels + j] + bias[block * channels + j];
    };
    const Real i = vector_sigmoid(sum(0)), f = vector_sigmoid(sum(1)), g = vector_tanh(sum(2)),
               o = vector_sigmoid(sum(3));
    const Real memory = f * start_or_zero(before, j) + i * g;
    gates[j] = i;
    gates[channels + j] = f;
    gates[2 * channels + j] = g;
    gates[3 * channels + j] = o;
    c[j] = memory;
    y[j] = o * vector_tanh(memory);
  }
}

template <class Real>
RWKVLAB_INLINE void gru_step(const RecurrentForward<Real>& call, Index row, Index t, const Real* r) {
  const Index channels = call.size.channels, token = row * call.size.time + t;
  const Real *a = call.input + token * 3 * channels, *bias = call.bias;
  const Real* before =
      t > 0 ? call.y + (token - 1) * channels : (call.hidden != nullptr ? call.hidden + row * channels : nullptr);
  Real *gates = call.gates + token * 4 * channels, *y = call.y + token * channels;
#pragma omp simd
  for (Index j = 0; j < channels; ++j) {
    const auto recurrent = [=](Index block)
                               RWKVLAB_INLINE_LAMBDA { return r[block * channels + j] + bias[block * channels + j]; };
    const Real reset = vector_sigmoid(a[j] + recurrent(0)), z = vector_sigmoid(a[channels + j] + recurrent(1));
    const Real of_hidden = recurrent(2), n = vector_tanh(a[2 * channels + j] + reset * of_hidden);
    gates[j] = reset;
    gates[channels + j] = z;
    gates[2 * channels + j] = n;
    gates[3 * channels + j] = of_hidden;
    y[j] = (1 - z) * n + z * start_or_zero(before, j);
  }
}

/// Gradients of one row and time step. dh: of h_t from the steps after it; on return the part of dh_{t-1} that does not
/// pass the product. dc: of c_t, on return of c_{t-1}.
template <class Real>
RWKVLAB_INLINE void lstm_step_gradient(const RecurrentBackward<Real>& call, Index row, Index t, Real* dh, Real* dc) {
  const Index channels = call.size.channels, token = row * call.size.time + t;
  const Real *gates = call.gates + token * 4 * channels, *c = call.memories + token * channels,
             *dy = call.grad_y + token * channels;
  const Real* before = t > 0 ? call.memories + (token - 1) * channels
                             : (call.memory != nullptr ? call.memory + row * channels : nullptr);
  const Real* of_memory = call.grad_memories != nullptr ? call.grad_memories + token * channels : nullptr;
  Real* da = call.grad_input + token * 4 * channels;
#pragma omp simd
  for (Index j = 0; j < channels; ++j) {
    const Real i = gates[j], f = gates[channels + j], g = gates[2 * channels + j], o = gates[3 * channels + j];
    const Real squashed = vector_tanh(c[j]), dy_all = dh[j] + dy[j];
    const Real d = dc[j] + start_or_zero(of_memory, j) + dy_all * o * (1 - squashed * squashed);
    da[j] = d * g * i * (1 - i);
    da[channels + j] = d * start_or_zero(before, j) * f * (1 - f);
    da[2 * channels + j] = d * i * (1 - g * g);
    da[3 * channels + j] = dy_all * squashed * o * (1 - o);
    dh[j] = 0;
    dc[j] = d * f;
  }
}

template <class Real>
RWKVLAB_INLINE void gru_step_gradient(const RecurrentBackward<Real>& call, Index row, Index t, Real* dh) {
  const Index channels = call.size.channels, token = row * call.size.time + t;
  const Real *gates = call.gates + token * 4 * channels, *dy = call.grad_y + token * channels;
  const Real* before =
      t > 0 ? call.y + (token - 1) * channels : (call.hidden != nullptr ? call.hidden + row * channels : nullptr);
  Real *da = call.grad_input + token * 3 * channels, *dr = call.grad_recurrent + token * 3 * channels;
#pragma omp simd
  for (Index j = 0; j < channels; ++j) {
    const Real reset = gates[j], z = gates[channels + j], n = gates[2 * channels + j],
               of_hidden = gates[3 * channels + j];
    const Real d = dh[j] + dy[j], dn = d * (1 - z) * (1 - n * n);
    const Real dz = d * (start_or_zero(before, j) - n) * z * (1 - z), dreset = dn * of_hidden * reset * (1 - reset);
    da[j] = dreset;
    da[channels + j] = dz;
    da[2 * channels + j] = dn;
    dr[j] = dreset;
    dr[channels + j] = dz;
    dr[2 * channels + j] = dn * reset;
    dh[j] = d * z;
  }
}

/// Rows [first, last) of the batch through all steps.
template <class Real>
void forward_rows(const RecurrentForward<Real>& call, Index first, Index last) {
  const Index channels = call.size.channels, width = blocks_of(call.cell) * channels, time = call.size.time;
  Real* products = scratch<Real>(Scratch::local, (last - first) * width);
  for (Index t = 0; t < time; ++t) {
    const Real* before = t > 0                    ? call.y + (first * time + t - 1) * channels
                         : call.hidden != nullptr ? call.hidden + first * channels
                                                  : nullptr;
    if (before == nullptr) {
      std::fill_n(products, (last - first) * width, Real(0));
    } else {
      block_product(
          {last - first, width, channels, false, true, false, t > 0 ? time * channels : channels, channels, width},
          before, call.weight, products);
    }
    const auto step = [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
      for (Index row = begin; row < end; ++row) {
        const Real* r = products + (row - first) * width;
        if (call.cell == Cell::lstm) {
          lstm_step(call, row, t, r);
        } else {
          gru_step(call, row, t, r);
        }
      }
    };
    run_cloned(step, first, last);
  }
}

template <class Real>
void backward_rows(const RecurrentBackward<Real>& call, Index first, Index last) {
  const Index channels = call.size.channels, width = blocks_of(call.cell) * channels, time = call.size.time;
  const Index count = (last - first) * channels;
  Real* dh = scratch<Real>(Scratch::local, 2 * count);
  Real* dc = dh + count;
  std::fill_n(dh, 2 * count, Real(0));
  for (Index t = time - 1; t >= 0; --t) {
    const auto step = [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
      for (Index row = begin; row < end; ++row) {
        const Index at = (row - first) * channels;
        if (call.cell == Cell::lstm) {
          lstm_step_gradient(call, row, t, dh + at, dc + at);
        } else {
          gru_step_gradient(call, row, t, dh + at);
        }
      }
    };
    run_cloned(step, first, last);
    if (t == 0 && call.grad_hidden == nullptr) break;
    block_product({last - first, channels, width, false, false, true, time * width, channels, channels},
                  call.grad_recurrent + (first * time + t) * width, call.weight, dh);
  }
  if (call.grad_hidden != nullptr) std::copy_n(dh, count, call.grad_hidden + first * channels);
  if (call.grad_memory != nullptr) std::copy_n(dc, count, call.grad_memory + first * channels);
}

}  // namespace

template <class Real>
void recurrent_forward(const RecurrentForward<Real>& call) {
  parallel_for(call.size.batch, rows_per_piece(call.size.batch),
               [&](Index begin, Index end) { forward_rows(call, begin, end); });
}

template <class Real>
void recurrent_backward(const RecurrentBackward<Real>& call) {
  parallel_for(call.size.batch, rows_per_piece(call.size.batch),
               [&](Index begin, Index end) { backward_rows(call, begin, end); });
}

void note_recurrent(Cell cell, const SequenceSize& size, bool backward) {
  MatmulCall call;
  const Index width = blocks_of(cell) * size.channels;
  call.batch = size.time;
  call.m = size.batch;
  call.n = backward ? size.channels : width;
  call.k = backward ? width : size.channels;
  call.transpose_b = !backward;
  call.stride_a = call.m * call.k;
  call.stride_c = call.m * call.n;
  note_matmul(call);
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Real)                                       \
  template void recurrent_forward<Real>(const RecurrentForward<Real>&); \
  template void recurrent_backward<Real>(const RecurrentBackward<Real>&);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)

}  // namespace rwkvlab::kernels
