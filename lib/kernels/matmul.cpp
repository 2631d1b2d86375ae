#include "kernels/matmul.h"

#include <algorithm>

#include "kernels/eigen_product.h"
#include "kernels/narrow_product.h"
#include "kernels/onednn.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"

// How oneDNN is used. Its own threads may split the sum over k between them, so that the bits depend on their number
// (2.6.3 does, for a transposed A with few columns and a long k). So a product is cut into pieces of C that depend on
// the shape alone, and each piece is one primitive on one thread. Measured on two Zen 5 cores with oneDNN 2.6.3 for
// 2048 tokens, GFLOP/s on 1 / 2 threads, best of 15; "own threads" is oneDNN's threading, "packed" the weights
// reordered into blocks in every call. The machine's ceiling is about 270 per thread.
//                                own threads   packed      dnnl_sgemm   pieces, as below
//   Y = X W^T    256 ->  256     254 / 467     253 / 418   250 / 452    246 / 445
//                256 -> 1024     244 / 490     245 / 485   248 / 491    242 / 482
//               1024 ->  256     254 / 496     244 / 462   239 / 356    244 / 473
//   dX = dY W    256 ->  256     263 / 483     255 / 441   258 / 493    255 / 458
//               1024 <-  256     257 / 490     250 / 460   259 / 490    245 / 463
//   dW = dY^T X  256 x   256     254 / 449     234 / 404   251 / 444    244 / 440
//               1024 x   256     245 / 473     184 / 381   201 / 411    212 (190 / 371 without the copied strips)
//                256 x  1024     232 / 440     191 / 400   243 / 422    205 / 430
// Packing gains nothing once its own time counts. Single numbers were taken as CPU time on a busy machine.
// Operands in bfloat16 (AVX512-BF16) go the same way. One thread and one piece of 256 rows, GFLOP/s of CPU time:
//                                float32   bfloat16   the weight packed beforehand
//   Y = X W^T    256 ->  256       225       466        463
//                768 -> 2048       203       420        453
//   dX = dY W    256 <- 1024       226       432        455
//   dW = dY^T X  256 x   256       195       431 (355 from rows 1024 apart without the copied strips)

namespace rwkvlab::kernels {
namespace {

/// Size of the pieces of C.
struct Pieces {
  Index rows, columns;
};

/// Pieces of 256 rows and many columns. While there are too few for several threads and each is worth more than a call,
/// the longer side of C is cut further (measured: cutting the shorter one costs 10 %), but not below 128.
Pieces choose_pieces(const MatmulCall& call) {
  constexpr Index smallest = 128, enough = 8;
  constexpr double worthwhile = 1.3e8;  // Floating-point operations; about half a millisecond.
  Pieces pieces{std::min<Index>(call.m, 256), std::min<Index>(call.n, call.transpose_a ? 512 : 2048)};
  const auto halve = [](Index size) { return (size / 2 + smallest - 1) / smallest * smallest; };
  for (;;) {
    const Index count = call.batch * piece_count(call.m, pieces.rows) * piece_count(call.n, pieces.columns);
    const double each =
        2.0 * static_cast<double>(pieces.rows) * static_cast<double>(pieces.columns) * static_cast<double>(call.k);
    if (count >= enough || each < worthwhile) return pieces;
    const bool rows_left = pieces.rows > smallest, columns_left = pieces.columns > smallest;
    if (!rows_left && !columns_left) return pieces;
    if (rows_left && (call.m >= call.n || !columns_left)) {
      pieces.rows = halve(pieces.rows);
    } else {
      pieces.columns = halve(pieces.columns);
    }
  }
}

/// One piece on this thread. A piece of a transposed A is a strip of columns of the stored matrix, which oneDNN reads
/// slowly when the rows lie a power of two apart (they compete for the same cache lines). So the strip is copied, some
/// tokens at a time, and their products are added up in order.
template <class Element>
void multiply_piece(SerialProduct product, const Element* a, const Element* b, float* c) {
  constexpr Index strip_depth = 512, far = 512, enough_columns = 128;
  if (!product.transpose_a || product.lda == product.m || product.lda < far || product.n < enough_columns) {
    run_serial_product(product, a, b, c);
    return;
  }
  const Index distance = product.lda, depth = product.k;
  product.lda = product.m;
  Element* strip = scratch<Element>(Scratch::local, std::min(strip_depth, depth) * product.m);
  for (Index start = 0; start < depth; start += strip_depth) {
    product.k = std::min(strip_depth, depth - start);
    for (Index row = 0; row < product.k; ++row) {
      std::copy_n(a + (start + row) * distance, product.m, strip + row * product.m);
    }
    run_serial_product(product, strip, b + (product.transpose_b ? start : start * product.ldb), c);
    product.accumulate = true;
  }
}

/// One matrix product of the batch, uncut.
SerialProduct whole_product(const MatmulCall& call) {
  SerialProduct whole = gapless_product(call.m, call.n, call.k, call.transpose_a, call.transpose_b);
  whole.accumulate = call.accumulate;
  return whole;
}

template <class Element>
void multiply_pieces(const MatmulCall& call, const Element* a, const Element* b, float* c) {
  const Pieces size = choose_pieces(call);
  const Index down = piece_count(call.m, size.rows), across = piece_count(call.n, size.columns);
  const SerialProduct whole = whole_product(call);
  parallel_for(call.batch * down * across, 1, [&](Index begin, Index end) {
    for (Index index = begin; index < end; ++index) {
      const Index row = index / across % down * size.rows, column = index % across * size.columns;
      const Index entry = index / (across * down);
      SerialProduct piece = whole;
      piece.m = std::min(size.rows, call.m - row);
      piece.n = std::min(size.columns, call.n - column);
      multiply_piece(piece, a + entry * call.stride_a + (call.transpose_a ? row : row * call.k),
                     b + entry * call.stride_b + (call.transpose_b ? column * call.k : column),
                     c + entry * call.stride_c + row * call.n + column);
    }
  });
}

/// One row times a transposed matrix, as in generation: a dot product per stored row of B, which is read once.
void multiply_row(const MatmulCall& call, const float* a, const float* b, float* c) {
  const Index k = call.k, n = call.n;
  const MatmulCall at = call;
  parallel_simd(call.batch * n, row_grain(k), [=](Index begin, Index end) RWKVLAB_INLINE_LAMBDA {
    for (Index index = begin; index < end; ++index) {
      const Index entry = index / n, column = index % n;
      const float* left = a + entry * at.stride_a;
      const float* right = b + entry * at.stride_b + column * k;
      float* out = c + entry * at.stride_c + column;
      const float product = lane_sum<float>(0, k, [=](Index i) RWKVLAB_INLINE_LAMBDA { return left[i] * right[i]; });
      *out = at.accumulate ? *out + product : product;
    }
  });
}

void compute(const MatmulCall& call, const float* a, const float* b, float* c) {
  if (call.m == 1 && call.transpose_b) {
    multiply_row(call, a, b, c);
  } else if (is_narrow_product(call)) {
    narrow_product(call, a, b, c);
  } else {
    multiply_pieces(call, a, b, c);
  }
}

void compute(const MatmulCall& call, const Bfloat16* a, const Bfloat16* b, float* c) { multiply_pieces(call, a, b, c); }

void compute(const MatmulCall& call, const double* a, const double* b, double* c) {
  for (Index entry = 0; entry < call.batch; ++entry) {
    eigen_product(whole_product(call), a + entry * call.stride_a, b + entry * call.stride_b, c + entry * call.stride_c);
  }
}

template <class Element, class Real>
void record_and_compute(const MatmulCall& call, const Element* a, const Element* b, Real* c) {
  note_matmul(call);
  if (call.batch <= 0 || call.m <= 0 || call.n <= 0) return;
  if (call.k <= 0) {
    if (call.accumulate) return;
    for (Index entry = 0; entry < call.batch; ++entry) std::fill_n(c + entry * call.stride_c, call.m * call.n, Real(0));
    return;
  }
  compute(call, a, b, c);
}

template <class Element>
void compute_as_onednn_would(const MatmulCall& call, const Element* a, const Element* b, float* c) {
  for (Index entry = 0; entry < call.batch; ++entry) {
    run_product_as_onednn_would(whole_product(call), a + entry * call.stride_a, b + entry * call.stride_b,
                                c + entry * call.stride_c);
  }
}

thread_local MatmulRecorder* innermost = nullptr;

}  // namespace

template <class Real>
void batched_matmul(const MatmulCall& call, const Real* a, const Real* b, Real* c) {
  record_and_compute(call, a, b, c);
}

void batched_matmul(const MatmulCall& call, const Bfloat16* a, const Bfloat16* b, float* c) {
  MatmulCall marked = call;
  marked.bfloat16 = true;
  record_and_compute(marked, a, b, c);
}

template <class Real>
void matmul(Index m, Index n, Index k, const Real* a, bool transpose_a, const Real* b, bool transpose_b, Real* c,
            bool accumulate) {
  const MatmulCall call = {
      .m = m, .n = n, .k = k, .transpose_a = transpose_a, .transpose_b = transpose_b, .accumulate = accumulate};
  batched_matmul(call, a, b, c);
}

void batched_matmul_as_onednn_would(const MatmulCall& call, const float* a, const float* b, float* c) {
  compute_as_onednn_would(call, a, b, c);
}

void batched_matmul_as_onednn_would(const MatmulCall& call, const Bfloat16* a, const Bfloat16* b, float* c) {
  compute_as_onednn_would(call, a, b, c);
}

void note_matmul(const MatmulCall& call) {
  for (MatmulRecorder* recorder = innermost; recorder != nullptr; recorder = recorder->outer_) {
    recorder->calls_.push_back(call);
  }
}

MatmulRecorder::MatmulRecorder() : outer_(innermost) { innermost = this; }
MatmulRecorder::~MatmulRecorder() { innermost = outer_; }

double MatmulRecorder::flops() const {
  double total = 0;
  for (const MatmulCall& call : calls_) total += call.flops();
  return total;
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define RWKVLAB_INSTANTIATE(Real)                                                                     \
  template void matmul<Real>(Index, Index, Index, const Real*, bool, const Real*, bool, Real*, bool); \
  template void batched_matmul<Real>(const MatmulCall&, const Real*, const Real*, Real*);
// NOLINTEND(bugprone-macro-parentheses)
RWKVLAB_INSTANTIATE(float)
RWKVLAB_INSTANTIATE(double)

}  // namespace rwkvlab::kernels
