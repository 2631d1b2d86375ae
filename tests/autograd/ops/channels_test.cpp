#include "autograd/ops/channels.h"

#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

TEST(ChannelOps, Gradients) {
  for (const auto& sizes : {std::vector<std::int64_t>{1}, {3, 5}, {2, 17, 1, 4}}) {
    std::int64_t sum = 0;
    for (const std::int64_t size : sizes) sum += size;
    test::check_op({"split_channels", {{"x", normal_tensor({2, 3, sum}, "x")}}, [=](const std::vector<Var>& in) {
                      return split_channels(in[0], sizes);
                    }});
  }
  for (const auto& [groups, width, count] : {std::tuple{1, 1, 2}, {2, 5, 3}, {3, 17, 2}}) {
    test::check_op({"repeat_groups",
                    {{"x", normal_tensor({2, 3, std::int64_t{groups} * width}, "x")}},
                    [groups = groups, count = count](const std::vector<Var>& in) {
                      return std::vector{repeat_groups(in[0], groups, count)};
                    }});
  }
}

TEST(ChannelOps, KeepTheOrder) {
  const Var x(Tensor::from<double>({2, 4}, std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8}));
  const std::vector<Var> parts = split_channels(x, {1, 3});
  EXPECT_EQ(parts[0].value().to_doubles(), (std::vector<double>{1, 5}));
  EXPECT_EQ(parts[1].value().to_doubles(), (std::vector<double>{2, 3, 4, 6, 7, 8}));
  EXPECT_EQ(repeat_groups(Var(x.value().rows(0, 1)), 2, 2).value().to_doubles(),
            (std::vector<double>{1, 2, 1, 2, 3, 4, 3, 4}));
}

TEST(ChannelOps, APartThatNothingReadsHasNoGradient) {
  const Var x = Var::leaf(normal_tensor({2, 4}, "x"));
  Tape tape;
  const std::vector<Var> parts = split_channels(x, {1, 3});
  tape.backward({parts[0]}, {Tensor::full({2, 1}, 1, DType::f64)});
  EXPECT_EQ(x.grad().to_doubles(), (std::vector<double>{1, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(ChannelOps, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var x(Tensor::zeros({2, 3, 4}));
  test::expect_shape_error([&] { split_channels(x, {1, 2}); }, {"split_channels", "[2, 3, 4]"});
  test::expect_shape_error([&] { split_channels(x, {4, 0}); }, {"split_channels", "sum"});
  test::expect_shape_error([&] { repeat_groups(x, 3, 2); }, {"repeat_groups", "divides"});
}

}  // namespace
}  // namespace rwkvlab
