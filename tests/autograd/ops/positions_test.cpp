#include "autograd/ops/positions.h"

#include <cmath>

#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

TEST(RotateHeads, GradientsForOddShapes) {
  for (const auto& [time, heads, head_size] : {std::tuple<int, int, int>{1, 1, 2}, {5, 3, 2}, {13, 2, 6}}) {
    const Tensor table = rotary_table(4, time, head_size, 100, DType::f64);
    test::check_op(
        {"rotate_heads", {{"x", normal_tensor({3, time, heads * head_size}, "x")}}, [&](const std::vector<Var>& in) {
           const Tensor t = table.dtype() == in[0].dtype() ? table : table.to(in[0].dtype());
           return std::vector{rotate_heads(in[0], t)};
         }});
  }
}

TEST(RotateHeads, TurnsTheHalvesOfEachHeadByItsAngle) {
  const std::int64_t first = 3, time = 4, d = 6, heads = 2;
  const Tensor x = normal_tensor({2, time, heads * d}, "x");
  const Tensor y = rotate_heads(Var(x), rotary_table(first, time, d, 10000, DType::f64)).value();
  for (std::int64_t row = 0; row < 2 * time; ++row) {
    for (std::int64_t pair = 0; pair < heads * d / 2; ++pair) {
      const std::int64_t head = pair / (d / 2), j = pair % (d / 2), at = row * heads * d + head * d + j;
      const double angle = static_cast<double>(first + row % time) *
                           std::pow(10000, -2 * static_cast<double>(j) / static_cast<double>(d));
      const double a = x.data<double>()[at], b = x.data<double>()[at + d / 2];
      EXPECT_NEAR(y.data<double>()[at], a * std::cos(angle) - b * std::sin(angle), 1e-14);
      EXPECT_NEAR(y.data<double>()[at + d / 2], b * std::cos(angle) + a * std::sin(angle), 1e-14);
    }
  }
}

TEST(AddPositions, GradientsForOddShapes) {
  for (const auto& [time, first] : {std::pair<std::int64_t, std::int64_t>{1, 0}, {5, 2}, {7, 0}}) {
    test::check_op(
        {"add_positions",
         {{"x", normal_tensor({3, time, 5}, "x")}, {"positions", normal_tensor({7, 5}, "positions")}},
         [first = first](const std::vector<Var>& in) { return std::vector{add_positions(in[0], in[1], first)}; }});
  }
}

TEST(Positions, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var x(Tensor::zeros({2, 5, 6})), positions(Tensor::zeros({4, 6}));
  test::expect_shape_error([&] { rotate_heads(x, rotary_table(0, 5, 4, 100, DType::f32)); },
                           {"rotate_heads", "[5, 4]"});
  test::expect_shape_error([&] { rotate_heads(x, rotary_table(0, 4, 6, 100, DType::f32)); },
                           {"rotate_heads", "[4, 6]"});
  test::expect_shape_error([&] { rotate_heads(x, rotary_table(0, 5, 3, 100, DType::f32)); }, {"rotate_heads", "even"});
  test::expect_shape_error([&] { add_positions(x, positions, 0); }, {"add_positions", "[4, 6]"});
  test::expect_shape_error([&] { add_positions(x, x, 0); }, {"add_positions", "[2, 5, 6]"});
}

}  // namespace
}  // namespace rwkvlab
