#include "autograd/ops/feed_forward.h"

#include "autograd/bfloat16_products.h"
#include "autograd/ops/linear.h"
#include "kernels/matmul.h"
#include "tests/support/largest_difference.h"
#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::equal_bytes;
using test::largest_difference;
using test::normal_tensor;

test::OpCase op_case(const Shape& x, std::int64_t hidden, std::int64_t outputs) {
  test::OpCase result{"feed_forward",
                      {{"x", normal_tensor(x, "x")},
                       {"key", normal_tensor({hidden, x[-1]}, "key")},
                       {"value", normal_tensor({outputs, hidden}, "value")}},
                      [](const std::vector<Var>& in) {
                        return std::vector{feed_forward(Activation::squared_relu, in[0], in[1], in[2])};
                      }};
  // The gradients of the weights add up a term for every token.
  if (x.rows() > 1000) result.float_tolerance = 3e-5;
  return result;
}

TEST(FeedForwardOp, FewTokens) {
  for (const Shape& shape : test::odd_shapes()) {
    SCOPED_TRACE(shape.text());
    test::check_op(op_case(shape, 9, 5));
  }
}

TEST(FeedForwardOp, BlocksOfTokensAndStepsOfColumns) {
  // 1100 tokens: eight blocks of 128 and a rest. 523 hidden channels: a step of columns and a rest.
  test::check_op(op_case({2, 550, 3}, 523, 4));
}

// relu has a kink, which finite differences would meet somewhere; against the two layers apart instead.
class AgainstTheLayersApart : public testing::TestWithParam<std::tuple<Activation, std::int64_t>> {};

Tensors pass(DType type, std::int64_t tokens, bool apart, Activation kind) {
  const auto leaf = [type](const Shape& shape, const char* name) {
    return Var::leaf(normal_tensor(shape, name).to(DType::f32).to(type));
  };
  const Var x = leaf({tokens, 96}, "x"), key = leaf({200, 96}, "key"), value = leaf({80, 200}, "value");
  Tape tape;
  const Var y = apart ? linear(activation(kind, linear(x, key)), value) : feed_forward(kind, x, key, value);
  tape.backward({y}, {normal_tensor({tokens, 80}, "seed").to(DType::f32).to(type)});
  return {y.value(), x.grad(), key.grad(), value.grad()};
}

TEST_P(AgainstTheLayersApart, Float64) {
  const auto [kind, tokens] = GetParam();
  const Tensors together = pass(DType::f64, tokens, false, kind), apart = pass(DType::f64, tokens, true, kind);
  // sqrt(u²) is u to the last bit but one; sums of up to 1100 terms may have another order.
  for (std::size_t i = 0; i < 4; ++i) EXPECT_LT(largest_difference(together[i], apart[i]), 1e-13) << i;
}

TEST_P(AgainstTheLayersApart, Bfloat16) {
  if (!kernels::has_bfloat16_products()) GTEST_SKIP() << "this processor has no bfloat16 products";
  const auto [kind, tokens] = GetParam();
  const Tensors exact = pass(DType::f64, tokens, true, kind);
  const Bfloat16Products products;
  const Tensors together = pass(DType::f32, tokens, false, kind), apart = pass(DType::f32, tokens, true, kind);
  EXPECT_TRUE(equal_bytes(together[0], apart[0])) << "the forward pass rounds the same numbers";
  for (std::size_t i = 0; i < 4; ++i) {
    const double error = largest_difference(together[i], exact[i]), usual = largest_difference(apart[i], exact[i]);
    // The slope comes from a hidden layer rounded by up to 2^-9, half of which its root keeps: less than what rounding
    // the gradients adds.
    EXPECT_LT(error, 1.5 * usual + 0x1p-9) << i;
    EXPECT_GT(error, 0x1p-12) << "result " << i << " is not of rounded operands";
  }
}

INSTANTIATE_TEST_SUITE_P(FeedForwardOp, AgainstTheLayersApart,
                         testing::Combine(testing::Values(Activation::squared_relu, Activation::relu),
                                          testing::Values(20, 1100)));

double flops_of_a_pass(std::int64_t tokens) {
  const Var x = Var::leaf(Tensor::zeros({tokens, 96})), key = Var::leaf(Tensor::zeros({200, 96})),
            value = Var::leaf(Tensor::zeros({80, 200}));
  const kernels::MatmulRecorder recorder;
  Tape tape;
  tape.backward({feed_forward(Activation::squared_relu, x, key, value)}, {Tensor::zeros({tokens, 80})});
  EXPECT_EQ(recorder.calls().size(), 6U);
  return recorder.flops();
}

TEST(FeedForwardOp, CountsTwoProductsForwardAndFourBackward) {
  for (const std::int64_t tokens : {20, 1100}) {
    const double expected = 6.0 * static_cast<double>(tokens) * 200 * (96 + 80);
    EXPECT_EQ(flops_of_a_pass(tokens), expected);
    const ShapeOnly shapes;
    EXPECT_EQ(flops_of_a_pass(tokens), expected);
  }
}

TEST(FeedForwardOp, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var x(Tensor::zeros({2, 3, 4})), key(Tensor::zeros({6, 4})), value(Tensor::zeros({4, 6}));
  const auto run = [](const Var& a, const Var& b, const Var& c) { feed_forward(Activation::relu, a, b, c); };
  test::expect_shape_error([&] { run(x, value, key); }, {"feed_forward", "[2, 3, 4]", "[4, 6]"});
  test::expect_shape_error([&] { run(x, key, key); }, {"feed_forward", "[6, 4]"});
}

}  // namespace
}  // namespace rwkvlab
