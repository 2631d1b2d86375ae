#include "autograd/ops/rms_norm.h"

#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

// Groups below, at and above the interleaved sums of 16; more rows than one piece of the weight's gradient.
struct Sizes {
  std::int64_t rows, groups, width;
  Shape shape() const { return {1, rows, groups * width}; }
};
const std::vector<Sizes> all_sizes = {{1, 1, 1}, {7, 3, 5}, {33, 2, 16}, {2, 1, 37}, {70, 4, 2}};

TEST(RmsNormOp, Gradients) {
  for (const Sizes& s : all_sizes) {
    for (const std::int64_t weights : {s.width, s.groups * s.width}) {
      SCOPED_TRACE(s.shape().text() + " weights " + std::to_string(weights));
      test::check_op({"rms_norm",
                      {{"x", normal_tensor(s.shape(), "x", 2)}, {"weight", normal_tensor({weights}, "weight")}},
                      [=](const std::vector<Var>& in) { return std::vector{rms_norm(in[0], in[1], s.groups, 0.1)}; }});
    }
    test::check_op({"l2_norm", {{"x", normal_tensor(s.shape(), "x", 2)}}, [=](const std::vector<Var>& in) {
                      return std::vector{l2_norm(in[0], s.groups, 0.1, 0.7)};
                    }});
  }
}

TEST(RmsNormOp, IsTheDefinition) {
  const Var x(Tensor::from<double>({1, 4}, std::vector<double>{3, 4, 0, 2}));
  const Var shared(Tensor::from<double>({2}, std::vector<double>{1, 10}));
  const Var own(Tensor::from<double>({4}, std::vector<double>{1, 10, 1, -1}));
  const double a = 1 / std::sqrt(12.5 + 0.5), b = 1 / std::sqrt(2 + 0.5);
  const auto expect = [](const Var& y, const std::vector<double>& values) {
    EXPECT_TRUE(test::close(y.value(), Tensor::from<double>({1, 4}, values), 1e-15));
  };
  expect(rms_norm(x, shared, 2, 0.5), {3 * a, 40 * a, 0, 20 * b});
  expect(rms_norm(x, own, 2, 0.5), {3 * a, 40 * a, 0, -2 * b});
  expect(l2_norm(x, 2, 0, 2), {1.2, 1.6, 0, 2});
  const double c = 1 / std::sqrt(29 + 1e-2);
  expect(l2_norm(x, 1, 1e-2), {3 * c, 4 * c, 0, 2 * c});
}

TEST(RmsNormOp, AZeroGroupStaysFinite) {
  const Var x = Var::leaf(Tensor::zeros({3, 8}));
  Tape tape;
  const Var y = l2_norm(x, 2, 1e-6);
  tape.backward({y}, {Tensor::full({3, 8}, 1)});
  EXPECT_TRUE(test::equal_bytes(y.value(), Tensor::zeros({3, 8})));
  EXPECT_TRUE(test::all_finite(x.grad()));
}

TEST(RmsNormOp, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var x(Tensor::zeros({2, 3, 4})), three(Tensor::zeros({3})), four(Tensor::zeros({4})), one(Tensor::zeros({1}));
  test::expect_shape_error([&] { rms_norm(x, three, 2, 1e-5); }, {"rms_norm", "[2, 3, 4]", "[3]"});
  test::expect_shape_error([&] { rms_norm(x, one, 2, 1e-5); }, {"rms_norm", "whole groups"});
  test::expect_shape_error([&] { rms_norm(x, four, 3, 1e-5); }, {"rms_norm", "divides"});
  test::expect_shape_error([&] { l2_norm(x, 0, 1e-5); }, {"l2_norm", "divides"});
}

}  // namespace
}  // namespace rwkvlab
