#include "kernels/feed_forward.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"
#include "kernels/token_blocks.h"

// Apart, the activation and the rounding of a hidden layer that is four times as wide as the model read and write it
// six times from memory; in blocks they find it in the cache.

namespace rwkvlab::kernels {
namespace {

// f and f' from the sum before it (forward) and from f itself (backward).
struct ReluFromValue {
  template <class Real>
  RWKVLAB_INLINE static Real value(Real sum) {
    return sum > 0 ? sum : Real(0);
  }
  template <class Real>
  RWKVLAB_INLINE static Real slope(Real value) {
    return value > 0 ? Real(1) : Real(0);
  }
};
struct SquaredReluFromValue {
  template <class Real>
  RWKVLAB_INLINE static Real value(Real sum) {
    const Real positive = sum > 0 ? sum : Real(0);
    return positive * positive;
  }
  template <class Real>
  RWKVLAB_INLINE static Real slope(Real value) {
    return 2 * std::sqrt(value);
  }
};

template <class Use>
void dispatch(Activation kind, const Use& use) {
  if (kind == Activation::relu) return use(ReluFromValue());
  check_invariant(kind == Activation::squared_relu, "a feed-forward layer has an activation whose slope follows");
  use(SquaredReluFromValue());
}

// Operands and sums are one type, or Bfloat16 and float.
RWKVLAB_INLINE float widened(Bfloat16 value) { return to_float(value); }
RWKVLAB_INLINE float widened(float value) { return value; }
RWKVLAB_INLINE double widened(double value) { return value; }
// A block of rows that lie `distance` apart.
template <class Element>
struct Rows {
  Element* at;
  Index distance;
};

// h = f(sums), which may be the same memory.
template <class Operand, class Real>
void activate(Activation kind, Index rows, Index columns, Rows<const Real> sums, Rows<Operand> h) {
  dispatch(kind, [=](auto f) {
    run_cloned(
        [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
          for (Index row = begin; row < end; ++row) {
            const Real* const from = sums.at + row * sums.distance;
            Operand* const to = h.at + row * h.distance;
#pragma omp simd
            for (Index i = 0; i < columns; ++i) to[i] = as_operand<Operand>(f.value(from[i]));
          }
        },
        0, rows);
  });
}

// grad = sums f'(h); grad may be the memory of the sums.
template <class Operand, class Real>
void weigh_by_slope(Activation kind, Index rows, Index columns, Rows<const Real> sums, Rows<const Operand> h,
                    Rows<Operand> grad) {
  dispatch(kind, [=](auto f) {
    run_cloned(
        [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
          for (Index row = begin; row < end; ++row) {
            const Real* const from = sums.at + row * sums.distance;
            const Operand* const value = h.at + row * h.distance;
            Operand* const to = grad.at + row * grad.distance;
#pragma omp simd
            for (Index i = 0; i < columns; ++i) to[i] = as_operand<Operand>(from[i] * f.slope(widened(value[i])));
          }
        },
        0, rows);
  });
}

// Columns of the hidden layer that are computed before they are activated.
constexpr Index column_step = 512;

// left [rows, depth] op(weights) [rows, hidden], some columns at a time: after(column, columns, sums) turns them into
// what goes to `to`. Sums of the operands' type are made in place there.
template <class Operand, class After>
void hidden_in_steps(SerialProduct product, const Operand* left, const Operand* weights, Rows<Operand> to,
                     const After& after) {
  using Real = typename FeedForward<Operand>::Real;
  const Index hidden = product.n;
  for (Index column = 0; column < hidden; column += column_step) {
    product.n = std::min(column_step, hidden - column);
    Rows<Real> sums;
    if constexpr (std::is_same_v<Operand, Real>) {
      sums = {to.at + column, to.distance};
    } else {
      sums = {scratch<Real>(Scratch::local, product.m * product.n), product.n};
    }
    product.ldc = sums.distance;
    serial_product(product, left, weights + (product.transpose_b ? column * product.ldb : column), sums.at);
    after(column, product.n, Rows<const Real>{sums.at, sums.distance});
  }
}

// Both products over all rows at once, with the hidden layer's sums in memory of their own.
template <class Operand, class Real, class Between>
void one_after_the_other(const std::array<MatmulCall, 2>& calls, const Operand* left, const Operand* first,
                         Operand* hidden, const Operand* second, Real* out, const Between& between) {
  const Index rows = calls[0].m, columns = calls[0].n;
  Rows<Real> sums;
  if constexpr (std::is_same_v<Operand, Real>) {
    sums = {hidden, columns};
  } else {
    sums = {scratch<Real>(Scratch::partials, rows * columns), columns};
  }
  batched_matmul(calls[0], left, first, sums.at);
  parallel_for(rows, row_grain(columns), [&](Index begin, Index end) {
    between(begin, end - begin, 0, columns, Rows<const Real>{sums.at + begin * columns, columns});
  });
  if (out != nullptr) batched_matmul(calls[1], hidden, second, out);
}

// The same block by block.
template <class Operand, class Real, class Between>
void block_by_block(Index block, const std::array<MatmulCall, 2>& calls, const Operand* left, const Operand* first,
                    Operand* hidden, const Operand* second, Real* out, const Between& between) {
  const Index rows = calls[0].m, depth = calls[0].k, columns = calls[0].n, outputs = calls[1].n;
  parallel_for(rows, block, [&](Index begin, Index end) {
    const Index count = end - begin;
    Operand* const own = hidden + begin * columns;
    hidden_in_steps(gapless_product(count, columns, depth, false, calls[0].transpose_b), left + begin * depth, first,
                    Rows<Operand>{own, columns}, [&](Index column, Index width, Rows<const Real> sums) {
                      between(begin, count, column, width, sums);
                    });
    if (out == nullptr) return;
    serial_product(gapless_product(count, outputs, columns, false, calls[1].transpose_b), own, second,
                   out + begin * outputs);
  });
}

// hidden = between(left op(first)), out = hidden op(second). between(first row, rows, first column, columns, sums).
template <class Operand, class Real, class Between>
void two_products(const std::array<MatmulCall, 2>& calls, const Operand* left, const Operand* first, Operand* hidden,
                  const Operand* second, Real* out, const Between& between) {
  const Index block = tokens_of_block(calls[0].m);
  if (block == 0) return one_after_the_other(calls, left, first, hidden, second, out, between);
  note_matmul(calls[0]);
  if (out != nullptr) note_matmul(calls[1]);
  block_by_block(block, calls, left, first, hidden, second, out, between);
}

}  // namespace

bool slope_follows_from_value(Activation kind) { return kind == Activation::relu || kind == Activation::squared_relu; }

template <class Operand>
std::array<MatmulCall, 2> FeedForward<Operand>::forward_products() const {
  constexpr bool bfloat16 = std::is_same_v<Operand, Bfloat16>;
  return {{{.m = rows, .n = hidden, .k = inputs, .transpose_b = true, .bfloat16 = bfloat16},
           {.m = rows, .n = outputs, .k = hidden, .transpose_b = true, .bfloat16 = bfloat16}}};
}

template <class Operand>
std::array<MatmulCall, 2> FeedForward<Operand>::backward_products() const {
  constexpr bool bfloat16 = std::is_same_v<Operand, Bfloat16>;
  return {{{.m = rows, .n = hidden, .k = outputs, .bfloat16 = bfloat16},
           {.m = rows, .n = inputs, .k = hidden, .bfloat16 = bfloat16}}};
}

template <class Operand>
void feed_forward(const FeedForward<Operand>& layer, const Operand* x, Operand* h,
                  typename FeedForward<Operand>::Real* y) {
  using Real = typename FeedForward<Operand>::Real;
  const Index hidden = layer.hidden;
  two_products(layer.forward_products(), x, layer.key, h, layer.value, y,
               [&](Index row, Index rows, Index column, Index columns, Rows<const Real> sums) {
                 activate(layer.activation, rows, columns, sums, Rows<Operand>{h + row * hidden + column, hidden});
               });
}

template <class Operand>
void feed_forward_backward(const FeedForward<Operand>& layer, const Operand* h, const Operand* grad_y,
                           Operand* grad_hidden, typename FeedForward<Operand>::Real* grad_x) {
  using Real = typename FeedForward<Operand>::Real;
  const Index hidden = layer.hidden;
  two_products(layer.backward_products(), grad_y, layer.value, grad_hidden, layer.key, grad_x,
               [&](Index row, Index rows, Index column, Index columns, Rows<const Real> sums) {
                 const Index at = row * hidden + column;
                 weigh_by_slope(layer.activation, rows, columns, sums, Rows<const Operand>{h + at, hidden},
                                Rows<Operand>{grad_hidden + at, hidden});
               });
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Operand)                                                                                  \
  template struct FeedForward<Operand>;                                                                               \
  template void feed_forward<Operand>(const FeedForward<Operand>&, const Operand*, Operand*,                          \
                                      FeedForward<Operand>::Real*);                                                   \
  template void feed_forward_backward<Operand>(const FeedForward<Operand>&, const Operand*, const Operand*, Operand*, \
                                               FeedForward<Operand>::Real*);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)
RWKVLAB_INSTANTIATE(Bfloat16)

}  // namespace rwkvlab::kernels
