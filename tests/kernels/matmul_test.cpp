#include "kernels/matmul.h"

#include <gtest/gtest.h>

#include "helpers.h"

namespace rwkvlab::kernels {
namespace {

struct Shape {
  Index m, n, k;
};

MatmulCall call_of(const Shape& shape, bool transpose_a, bool transpose_b, bool accumulate = false, Index batch = 1) {
  MatmulCall call;
  call.m = shape.m;
  call.n = shape.n;
  call.k = shape.k;
  call.transpose_a = transpose_a;
  call.transpose_b = transpose_b;
  call.accumulate = accumulate;
  call.batch = batch;
  call.stride_a = shape.m * shape.k;
  call.stride_b = shape.k * shape.n;
  call.stride_c = shape.m * shape.n;
  return call;
}

template <class Real>
std::vector<Real> naive(const MatmulCall& call, const std::vector<Real>& a, const std::vector<Real>& b,
                        std::vector<Real> c) {
  for (Index e = 0; e < call.batch; ++e) {
    for (Index i = 0; i < call.m; ++i) {
      for (Index j = 0; j < call.n; ++j) {
        double total = 0;
        for (Index l = 0; l < call.k; ++l) {
          const Index at_a = e * call.stride_a + (call.transpose_a ? l * call.m + i : i * call.k + l);
          const Index at_b = e * call.stride_b + (call.transpose_b ? j * call.k + l : l * call.n + j);
          total += static_cast<double>(a[at_a]) * static_cast<double>(b[at_b]);
        }
        Real& out = c[e * call.stride_c + i * call.n + j];
        out = static_cast<Real>(total + (call.accumulate ? static_cast<double>(out) : 0.0));
      }
    }
  }
  return c;
}

template <class Real>
void check_all_forms(const Shape& shape, double tolerance) {
  for (int form = 0; form < 16; ++form) {
    const MatmulCall call = call_of(shape, form & 1, form & 2, form & 4, form & 8 ? 3 : 1);
    const auto a = random_values<Real>(call.batch * call.stride_a, "a");
    const auto b = random_values<Real>(call.batch * call.stride_b, "b");
    const auto before = random_values<Real>(call.batch * call.stride_c, "c");
    auto c = before;
    batched_matmul(call, a.data(), b.data(), c.data());
    EXPECT_LT(relative_error(c, naive(call, a, b, before)), tolerance)
        << shape.m << " " << shape.n << " " << shape.k << " form " << form;
  }
}

TEST(Matmul, AgreesWithSumsInEveryForm) {
  for (const Shape& shape :
       {Shape{1, 1, 1}, Shape{3, 5, 13}, Shape{17, 33, 5}, Shape{1, 33, 17}, Shape{33, 1, 65}, Shape{70, 130, 33}}) {
    // A sum of k terms of size 1 in float: k roundings of 6e-8 at most, relative to a largest element of about sqrt(k).
    check_all_forms<float>(shape, 3e-6);
    check_all_forms<double>(shape, 1e-14);
  }
}

TEST(Matmul, NarrowGradientsAgreeWithSums) {
  // Whole and partial tiles, and sums of whole and partial depths; the last shape is not of this kind.
  for (const Shape& shape : {Shape{32, 96, 300}, Shape{208, 64, 256}, Shape{16, 16, 385}, Shape{24, 80, 300}}) {
    check_all_forms<float>(shape, 3e-6);  // As above.
  }
}

TEST(Matmul, BitsDoNotDependOnThreads) {
  // The second row holds shapes for which oneDNN itself would split the sum between threads.
  for (const Shape& shape : {Shape{520, 260, 96}, Shape{256, 256, 512}, Shape{100, 3000, 64},                    //
                             Shape{64, 2, 2048}, Shape{17, 17, 4096}, Shape{257, 13, 4096}, Shape{1, 700, 129},  //
                             Shape{320, 32, 700}}) {
    for (int form = 0; form < 8; ++form) {
      const MatmulCall call = call_of(shape, form & 1, form & 2, form & 4);
      const auto a = random_values<float>(call.stride_a, "a");
      const auto b = random_values<float>(call.stride_b, "b");
      const auto before = random_values<float>(call.stride_c, "c");
      expect_same_bits([&] {
        auto c = before;
        batched_matmul(call, a.data(), b.data(), c.data());
        return c;
      });
    }
  }
}

TEST(Matmul, PiecesAgreeWithDoubleAtTrainingSize) {
  const Shape shape{515, 270, 300};
  for (int form = 0; form < 4; ++form) {
    const MatmulCall call = call_of(shape, form & 1, form & 2);
    const auto a = random_values<float>(call.stride_a, "a");
    const auto b = random_values<float>(call.stride_b, "b");
    std::vector<float> c(static_cast<std::size_t>(call.stride_c));
    std::vector<double> expected(c.size());
    batched_matmul(call, a.data(), b.data(), c.data());
    batched_matmul(call, convert<double>(a).data(), convert<double>(b).data(), expected.data());
    EXPECT_LT(relative_error(c, expected), 3e-6);
  }
}

TEST(Matmul, OneMatrixForAWholeBatch) {
  MatmulCall call = call_of({3, 4, 5}, false, false, false, 6);
  call.stride_b = 0;
  const auto a = random_values<float>(6 * 15, "a"), b = random_values<float>(20, "b");
  std::vector<float> c(6 * 12);
  batched_matmul(call, a.data(), b.data(), c.data());
  EXPECT_LT(relative_error(c, naive(call, a, b, c)), 1e-6);
}

TEST(Matmul, EmptySums) {
  std::vector<float> c{1, 2, 3, 4};
  const std::vector<float> nothing(1);
  matmul<float>(2, 2, 0, nothing.data(), false, nothing.data(), false, c.data(), true);
  EXPECT_EQ(c, (std::vector<float>{1, 2, 3, 4}));
  matmul<float>(2, 2, 0, nothing.data(), false, nothing.data(), false, c.data(), false);
  EXPECT_EQ(c, (std::vector<float>{0, 0, 0, 0}));
  matmul<float>(0, 2, 3, nothing.data(), false, nothing.data(), false, c.data());
}

TEST(MatmulRecorder, SeesCallsWhileItLives) {
  const std::vector<float> a(6), b(6);
  std::vector<float> c(4);
  MatmulRecorder outer;
  {
    MatmulRecorder inner;
    matmul<float>(2, 2, 3, a.data(), false, b.data(), true, c.data());
    note_matmul(call_of({4, 5, 6}, true, false));
    ASSERT_EQ(inner.calls().size(), 2u);
    EXPECT_EQ(inner.calls()[0].k, 3);
    EXPECT_TRUE(inner.calls()[0].transpose_b);
    EXPECT_EQ(inner.flops(), 24 + 240);
  }
  matmul<float>(2, 2, 3, a.data(), false, b.data(), false, c.data());
  EXPECT_EQ(outer.calls().size(), 3u);
  outer.clear();
  EXPECT_EQ(outer.flops(), 0);
}

}  // namespace
}  // namespace rwkvlab::kernels
