// Linear layers inside a Bfloat16Products: what is rounded, when, and what it does to gradients.
#include <gtest/gtest.h>

#include "autograd/bfloat16_products.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/linear.h"
#include "kernels/matmul.h"
#include "tests/support/largest_difference.h"
#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::equal_bytes;
using test::largest_difference;
using test::normal_tensor;

class LinearInBfloat16 : public testing::Test {
 protected:
  void SetUp() override {
    if (!kernels::has_bfloat16_products()) GTEST_SKIP() << "this processor has no bfloat16 products";
  }
};

// Values of y, ∂x, ∂W, ∂b.
struct Pass {
  Pass(const Var& x, const Var& weight, const Var& bias, const Tensor& seed, bool input_major = false) {
    Tape tape;
    const Var y = input_major ? project(x, weight, bias) : linear(x, weight, bias);
    tape.backward({y}, {seed});
    results = {y.value(), x.grad(), weight.grad(), bias.grad()};
  }
  Tensors results;
};

Var leaf(const Shape& shape, const std::string& name, DType type = DType::f32) {
  return Var::leaf(normal_tensor(shape, name).to(DType::f32).to(type));
}

Pass pass(DType type, bool input_major) {
  return {leaf({2, 70, 96}, "x", type), leaf(input_major ? Shape{96, 130} : Shape{130, 96}, "weight", type),
          leaf({130}, "bias", type), normal_tensor({2, 70, 130}, "seed").to(DType::f32).to(type), input_major};
}

TEST_F(LinearInBfloat16, ValuesAndGradientsAreOffByTheRoundingOfTheOperands) {
  for (const bool input_major : {false, true}) {
    const Pass exact = pass(DType::f64, input_major), single = pass(DType::f32, input_major);
    const Bfloat16Products products;
    const Pass reduced = pass(DType::f32, input_major);
    for (std::size_t i = 0; i < 3; ++i) {
      const double error = largest_difference(reduced.results[i], exact.results[i]);
      // Each operand is off by up to 2^-8. Errors and terms of a sum grow alike, with the root of their number; so
      // relative to the largest sum the error is about that of one term, at most 2 · 2^-8.
      EXPECT_LT(error, 0x1p-7) << "result " << i;
      EXPECT_GT(error, 0x1p-12) << "result " << i << " is not of rounded operands";
    }
    EXPECT_TRUE(equal_bytes(reduced.results[3], single.results[3])) << "the gradient of the bias is no product";
    EXPECT_EQ(reduced.results[0].dtype(), DType::f32);
  }
}

TEST_F(LinearInBfloat16, Float64NarrowLayersAndTheTimeAfterwardsAreLeftAlone) {
  const Pass exact = pass(DType::f64, false), single = pass(DType::f32, false);
  const auto narrow = [](std::int64_t inputs, std::int64_t outputs) {
    return linear(Var(normal_tensor({5, inputs}, "x").to(DType::f32)),
                  Var(normal_tensor({outputs, inputs}, "w").to(DType::f32)))
        .value();
  };
  const Tensor from_few = narrow(63, 64), to_few = narrow(64, 63), wide = narrow(64, 64);
  {
    const Bfloat16Products products;
    EXPECT_TRUE(equal_bytes(pass(DType::f64, false).results[2], exact.results[2]));
    EXPECT_TRUE(equal_bytes(narrow(63, 64), from_few));
    EXPECT_TRUE(equal_bytes(narrow(64, 63), to_few));
    EXPECT_FALSE(equal_bytes(narrow(64, 64), wide));
  }
  EXPECT_EQ(Bfloat16Products::current(), nullptr);
  EXPECT_TRUE(equal_bytes(pass(DType::f32, false).results[2], single.results[2]));
}

TEST_F(LinearInBfloat16, BackwardIsInThePrecisionOfForward) {
  const Var x = leaf({70, 64}, "x"), weight = leaf({64, 64}, "weight");
  const Tensor seed = normal_tensor({70, 64}, "seed").to(DType::f32);
  kernels::MatmulRecorder recorder;
  Tape tape;
  std::optional<Bfloat16Products> products(std::in_place);
  const Var y = linear(x, weight);
  products.reset();
  tape.backward({y}, {seed});
  ASSERT_EQ(recorder.calls().size(), 3U);
  for (const kernels::MatmulCall& call : recorder.calls()) EXPECT_TRUE(call.bfloat16);
}

TEST_F(LinearInBfloat16, NoCopyOfAWeightIsStale) {
  const Var x(normal_tensor({3, 64}, "x").to(DType::f32));
  const Var weight(normal_tensor({64, 64}, "weight").to(DType::f32));
  const auto apply = [&](const Var& w) {
    const Bfloat16Products products;
    return linear(x, w).value();
  };
  const Tensor before = apply(weight);
  EXPECT_TRUE(equal_bytes(apply(weight), before));
  for (float& value : weight.value().span<float>()) value = -value;
  const Tensor after = apply(weight);
  EXPECT_FALSE(equal_bytes(after, before));
  for (std::int64_t i = 0; i < after.elements(); ++i) ASSERT_EQ(after.data<float>()[i], -before.data<float>()[i]);
  // Computed weights come and go within one pass; memory that one leaves is not taken for it when the next has it.
  const Bfloat16Products products;
  for (int i = 0; i < 4; ++i) {
    const Tensor computed = Tensor::full({64, 64}, i), input = Tensor::full({1, 64}, i + 1);
    EXPECT_EQ(linear(Var(input), Var(computed)).value().data<float>()[7], 64.0F * static_cast<float>(i * (i + 1)));
  }
}

TEST_F(LinearInBfloat16, WeightsAndSharedInputsAreRoundedOnce) {
  const Var x(normal_tensor({3, 64}, "x").to(DType::f32)), weight(normal_tensor({64, 64}, "weight").to(DType::f32));
  Bfloat16Products products;
  EXPECT_EQ(products.weight(weight.value()).bfloat16(), products.weight(weight.value()).bfloat16());
  const ProductOperand once = products.input(x.value());
  EXPECT_EQ(products.input(x.value()).bfloat16(), once.bfloat16());
  EXPECT_NE(products.input(weight.value()).bfloat16(), once.bfloat16());
}

// What is computed again is rounded again, to the same bits, and no copy of it is kept.
TEST_F(LinearInBfloat16, InputsThatAreComputedAgainAreRoundedAgain) {
  const Tensor values = normal_tensor({70, 64}, "x").to(DType::f32);
  const Tensor seed = normal_tensor({70, 128}, "seed").to(DType::f32);
  const Var weight = leaf({128, 64}, "weight"), other = leaf({128, 64}, "weight");
  const Bfloat16Products products;
  const Var x = Var::leaf(values);
  Tape tape;
  const Var y = linear(activation(Activation::tanh, x), weight);
  tape.backward({y}, {seed});
  Tape second;
  const Var kept = Var::leaf(activation(Activation::tanh, Var(values)).value());
  second.backward({linear(kept, other)}, {seed});
  EXPECT_TRUE(equal_bytes(weight.grad(), other.grad()));
}

TEST_F(LinearInBfloat16, ShapesAloneCountProductsAndMemory) {
  const ShapeOnly shape_only;
  const Bfloat16Products products;
  const Var x = Var::leaf(Tensor::empty({70, 64})), weight = Var::leaf(Tensor::empty({128, 64}));
  kernels::MatmulRecorder recorder;
  Tape tape;
  const Var y = linear(x, weight);
  tape.backward({y}, {Tensor::empty({70, 128})});
  EXPECT_EQ(recorder.flops(), 3 * 2.0 * 70 * 64 * 128);
  for (const kernels::MatmulCall& call : recorder.calls()) EXPECT_TRUE(call.bfloat16);
}

}  // namespace
}  // namespace rwkvlab
