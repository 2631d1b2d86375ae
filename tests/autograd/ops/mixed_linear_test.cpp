#include "autograd/ops/mixed_linear.h"

#include "autograd/bfloat16_products.h"
#include "autograd/ops/linear.h"
#include "kernels/matmul.h"
#include "kernels/parallel.h"
#include "tests/support/largest_difference.h"
#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::equal_bytes;
using test::largest_difference;
using test::normal_tensor;

test::OpCase op_case(const Shape& shape, MixedToken weighs, const TokenShift* shift) {
  const std::int64_t channels = shape[2];
  test::OpCase result{"mixed_linear",
                      {{"x", normal_tensor(shape, "x")},
                       {"mix_0", normal_tensor({channels}, "mix_0")},
                       {"mix_1", normal_tensor({channels}, "mix_1")},
                       {"weight_0", normal_tensor({5, channels}, "weight_0")},
                       {"weight_1", normal_tensor({2, channels}, "weight_1")}},
                      nullptr};
  if (shift == nullptr) {
    result.inputs.push_back({"previous", normal_tensor({shape[0], channels}, "previous")});
    result.apply = [weighs](const std::vector<Var>& in) {
      return mixed_linear(in[0], in[5], {in[1], in[2]}, {in[3], in[4]}, weighs);
    };
  } else {
    result.apply = [weighs, shift](const std::vector<Var>& in) {
      return mixed_linear(in[0], {}, {in[1], in[2]}, {in[3], in[4]}, weighs, shift);
    };
  }
  return result;
}

TEST(MixedLinearOp, Sequences) {
  for (const MixedToken weighs : {MixedToken::current, MixedToken::previous}) {
    test::check_op(op_case({2, 3, 4}, weighs, nullptr));
    test::check_op(op_case({1, 1, 3}, weighs, nullptr));
  }
}

TEST(MixedLinearOp, Images) {
  const TokenShift shift = TokenShift::q_shift({3, 2, 1}, 9);
  test::check_op(op_case({2, 7, 9}, MixedToken::current, &shift));
}

// Both ways of computing the same, with gradients of everything. Every second result is left unused when `half`.
struct Setting {
  DType type = DType::f64;
  bool apart = false, half = false;
};
Tensors pass(const Setting& setting) {
  constexpr std::int64_t rows = 20, columns = 20, images = 3, channels = 72;
  const TokenShift shift = TokenShift::q_shift({rows, columns, 0}, channels);
  const auto leaf = [&](const Shape& shape, const std::string& name) {
    return Var::leaf(normal_tensor(shape, name).to(DType::f32).to(setting.type));
  };
  const Var x = leaf({images, rows * columns, channels}, "x");
  std::vector<Var> mixes, weights;
  for (int j = 0; j < 3; ++j) {
    mixes.push_back(leaf({channels}, "mix " + std::to_string(j)));
    weights.push_back(leaf({64 + 16 * j, channels}, "weight " + std::to_string(j)));
  }
  Tape tape;
  std::vector<Var> y;
  if (setting.apart) {
    y = token_mix(x, {}, mixes, MixedToken::current, &shift);
    for (std::size_t j = 0; j < 3; ++j) y[j] = linear(y[j], weights[j]);
  } else {
    y = mixed_linear(x, {}, mixes, weights, MixedToken::current, &shift);
  }
  Tensors results, seeds;
  for (const Var& one : y) results.push_back(one.value());
  if (setting.half) y = {y[0], y[2]};
  for (const Var& one : y) seeds.push_back(normal_tensor(one.shape(), "seed").to(DType::f32).to(setting.type));
  tape.backward(y, seeds);
  for (const Var& leaf_of : {x, mixes[0], mixes[1], mixes[2], weights[0], weights[1], weights[2]}) {
    if (leaf_of.grad().defined()) results.push_back(leaf_of.grad());
  }
  return results;
}

TEST(MixedLinearOp, IsTheTwoOperations) {
  for (const bool half : {false, true}) {
    const Tensors together = pass({DType::f64, false, half}), apart = pass({DType::f64, true, half});
    // A weight without a gradient has none either way; the unused blend's mix has zeros.
    ASSERT_EQ(together.size(), apart.size());
    // Sums of up to 1200 terms of size 1, in another order.
    for (std::size_t i = 0; i < together.size(); ++i) {
      if (equal_bytes(together[i], apart[i])) continue;  // Also zeros, which have no relative error.
      EXPECT_LT(largest_difference(together[i], apart[i]), 1e-13) << i;
    }
  }
}

TEST(MixedLinearOp, Bfloat16) {
  if (!kernels::has_bfloat16_products()) GTEST_SKIP() << "this processor has no bfloat16 products";
  const Tensors exact = pass({DType::f64, true});
  const Bfloat16Products products;
  const Tensors together = pass({DType::f32, false}), apart = pass({DType::f32, true});
  ASSERT_EQ(together.size(), exact.size());
  for (std::size_t i = 0; i < together.size(); ++i) {
    const double error = largest_difference(together[i], exact[i]), usual = largest_difference(apart[i], exact[i]);
    // The same operands are rounded; a blend may differ in its last bit, and so, rarely, in how it is rounded.
    EXPECT_LT(error, 1.1 * usual) << i;
    EXPECT_GT(error, 0x1p-12) << "result " << i << " is not of rounded operands";
  }
}

TEST(MixedLinearOp, TheSameBitsWithAnyNumberOfThreads) {
  const int before = kernels::threads();
  kernels::set_threads(1);
  const Tensors one = pass({DType::f32});
  kernels::set_threads(3);
  const Tensors three = pass({DType::f32});
  kernels::set_threads(before);
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(equal_bytes(one[i], three[i])) << i;
}

TEST(MixedLinearOp, CountsItsProducts) {
  const auto flops = [] {
    const Var x = Var::leaf(Tensor::zeros({2, 30, 8})), mix = Var::leaf(Tensor::zeros({8})),
              weight = Var::leaf(Tensor::zeros({6, 8}));
    const kernels::MatmulRecorder recorder;
    Tape tape;
    const std::vector<Var> y = mixed_linear(x, {}, {mix, mix}, {weight, weight});
    tape.backward(y, {Tensor::zeros(y[0].shape()), Tensor::zeros(y[1].shape())});
    EXPECT_EQ(recorder.calls().size(), 6U);
    return recorder.flops();
  };
  EXPECT_EQ(flops(), 6 * 2.0 * 60 * 8 * 6);
  const ShapeOnly shapes;
  EXPECT_EQ(flops(), 6 * 2.0 * 60 * 8 * 6);
}

TEST(MixedLinearOp, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var x(Tensor::zeros({2, 3, 4})), mix(Tensor::zeros({4})), weight(Tensor::zeros({6, 4}));
  const auto run = [&](const Var& one_mix, const Var& one_weight) { mixed_linear(x, {}, {one_mix}, {one_weight}); };
  test::expect_shape_error([&] { run(weight, weight); }, {"mixed_linear", "one mix weight per channel", "[6, 4]"});
  test::expect_shape_error([&] { run(mix, x); }, {"mixed_linear", "weights [outputs, channels]", "[2, 3, 4]"});
}

}  // namespace
}  // namespace rwkvlab
