#include "autograd/ops/image_tokens.h"

#include <cmath>

#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::check_op;
using test::normal_tensor;

Tensor counted(const Shape& shape) {
  Tensor x = Tensor::empty(shape, DType::f64);
  for (std::int64_t i = 0; i < x.elements(); ++i) x.data<double>()[i] = static_cast<double>(i);
  return x;
}

TEST(ImageTokens, PatchesAreCutRowByRowAndPaddedAtTheEnd) {
  // 1 image of 2 channels, 3 x 5 pixels: 2 x 3 patches of 2 x 2.
  const Tensor y = image_patches(Var(counted({1, 2, 3, 5})), 2).value();
  ASSERT_EQ(y.shape(), Shape({1, 6, 8}));
  const auto patch = [&](std::int64_t t) {
    return std::vector<double>(y.data<double>() + 8 * t, y.data<double>() + 8 * t + 8);
  };
  EXPECT_EQ(patch(0), (std::vector<double>{0, 1, 5, 6, 15, 16, 20, 21}));
  EXPECT_EQ(patch(2), (std::vector<double>{4, 0, 9, 0, 19, 0, 24, 0}));
  EXPECT_EQ(patch(5), (std::vector<double>{14, 0, 0, 0, 29, 0, 0, 0}));
  for (const std::int64_t size : {1, 2, 3}) {
    check_op({"image_patches", {{"images", normal_tensor({2, 3, 4, 5}, "images")}}, [size](const auto& in) {
                return std::vector{image_patches(in[0], size)};
              }});
  }
  test::expect_shape_error([] { image_patches(Var(Tensor::zeros({2, 3, 4})), 2); }, {"image_patches", "[2, 3, 4]"});
}

// Straight from the definition, in two dimensions at once.
double cubic_weight(double d) {
  d = std::fabs(d);
  if (d < 1) return 1.25 * d * d * d - 2.25 * d * d + 1;
  return d < 2 ? -0.75 * (d * d * d - 5 * d * d + 8 * d - 4) : 0;
}

double plain_resized(const Tensor& x, const GridSize& from, const GridSize& to, bool cubic, std::int64_t row,
                     std::int64_t column) {
  const auto place = [&](std::int64_t d, std::int64_t in, std::int64_t out) {
    const double at = (static_cast<double>(d) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
    return cubic ? at : std::max(at, 0.0);
  };
  const double y = place(row, from.rows, to.rows), z = place(column, from.columns, to.columns);
  double sum = 0;
  for (int i = -2; i <= from.rows + 2; ++i) {
    for (int j = -2; j <= from.columns + 2; ++j) {
      const double wi = cubic ? cubic_weight(y - i) : std::max(0.0, 1 - std::fabs(y - i));
      const double wj = cubic ? cubic_weight(z - j) : std::max(0.0, 1 - std::fabs(z - j));
      const std::int64_t a = std::clamp<std::int64_t>(i, 0, from.rows - 1),
                         b = std::clamp<std::int64_t>(j, 0, from.columns - 1);
      sum += wi * wj * x.data<double>()[a * from.columns + b];
    }
  }
  return sum;
}

TEST(ImageTokens, ResizedGridsAreTheDefinition) {
  for (const auto& [from, to] : std::vector<std::pair<GridSize, GridSize>>{
           {{3, 5}, {4, 6}}, {{4, 4}, {5, 3}}, {{1, 1}, {3, 2}}, {{2, 7}, {9, 3}}}) {
    const Tensor x = normal_tensor({1, from.tokens(), 1}, "x");
    for (const std::string mode : {"bicubic", "bilinear"}) {
      const Tensor y = resize_grid(Var(x), from, to, mode).value();
      for (std::int64_t i = 0; i < to.tokens(); ++i) {
        // Both sum up to 16 products in float64.
        EXPECT_NEAR(y.data<double>()[i], plain_resized(x, from, to, mode == "bicubic", i / to.columns, i % to.columns),
                    1e-13)
            << mode << " " << i;
      }
      check_op({"resize_grid", {{"x", normal_tensor({2, from.tokens(), 3}, "x")}}, [&](const auto& in) {
                  return std::vector{resize_grid(in[0], from, to, mode)};
                }});
    }
  }
  test::expect_shape_error(
      [] {
        resize_grid(Var(Tensor::zeros({1, 5, 2})), {2, 3}, {4, 4}, "bicubic");
      },
      {"resize_grid", "[1, 5, 2]"});
}

TEST(ImageTokens, APartOfAResizedGridIsThatPart) {
  const Var x(normal_tensor({2, 6, 3}, "x"));
  const Tensor whole = resize_grid(x, {2, 3}, {8, 12}, "bilinear").value();
  const Tensor part = resize_grid(x, {2, 3}, {7, 10}, "bilinear", {8, 12}).value();
  for (std::int64_t b = 0; b < 2; ++b) {
    for (std::int64_t row = 0; row < 7; ++row) {
      for (std::int64_t i = 0; i < 30; ++i) {
        EXPECT_EQ(part.data<double>()[(b * 7 + row) * 30 + i], whole.data<double>()[(b * 8 + row) * 36 + i]);
      }
    }
  }
}

TEST(ImageTokens, MovedTokensAndTheirGradients) {
  const Tensor x = counted({2, 3, 2});
  const auto values = [](const Var& y) { return y.value().to_doubles(); };
  EXPECT_EQ(values(channels_first(Var(x))), (std::vector<double>{0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11}));
  EXPECT_EQ(values(token_range(Var(x), 1, 3)), (std::vector<double>{2, 3, 4, 5, 8, 9, 10, 11}));
  EXPECT_EQ(values(reorder_tokens(Var(x), {2, 0, 1})), (std::vector<double>{4, 5, 0, 1, 2, 3, 10, 11, 6, 7, 8, 9}));
  EXPECT_EQ(values(mean_of_tokens(Var(x))), (std::vector<double>{2, 3, 8, 9}));
  EXPECT_EQ(inverse_order({2, 0, 1}), (std::vector<std::int64_t>{1, 2, 0}));
  const auto check = [](const char* name, const std::function<Var(const Var&)>& apply) {
    check_op({name, {{"x", normal_tensor({3, 4, 5}, "x")}}, [&](const auto& in) { return std::vector{apply(in[0])}; }});
  };
  check("reshape", [](const Var& in) { return reshape(in, {2, 30}); });
  check("channels_first", [](const Var& in) { return channels_first(in); });
  check("token_range", [](const Var& in) { return token_range(in, 1, 3); });
  check("reorder_tokens", [](const Var& in) { return reorder_tokens(in, {3, 1, 0, 2}); });
  check("mean_of_tokens", [](const Var& in) { return mean_of_tokens(in); });
  const Var wrong(Tensor::zeros({2, 3}));
  test::expect_shape_error([&] { reshape(wrong, {4}); }, {"reshape", "[2, 3]"});
  test::expect_shape_error([&] { channels_first(wrong); }, {"channels_first"});
  test::expect_shape_error([&] { token_range(wrong, 0, 1); }, {"token_range"});
  test::expect_shape_error([&] { reorder_tokens(wrong, {0, 1}); }, {"reorder_tokens"});
  test::expect_shape_error([&] { mean_of_tokens(wrong); }, {"mean_of_tokens"});
}

TEST(ImageTokens, BranchesAreScaledPerChannelAndPerSample) {
  const std::vector<double> kept = {2, 0, 0.5};
  const Tensor samples = Tensor::from<double>({3}, kept);
  for (const Shape& shape : {Shape({3, 4, 5}), Shape({3, 1, 1}), Shape({3, 7, 33})}) {
    const Tensor x = normal_tensor(shape, "x"), branch = normal_tensor(shape, "branch");
    const Tensor channel = normal_tensor({shape[2]}, "channel");
    const Tensor y = add_branch(Var(x), Var(branch), Var(channel), samples).value();
    for (std::int64_t i = 0; i < x.elements(); ++i) {
      const double factor = kept[static_cast<std::size_t>(i / (shape[1] * shape[2]))];
      EXPECT_NEAR(y.data<double>()[i],
                  x.data<double>()[i] + factor * channel.data<double>()[i % shape[2]] * branch.data<double>()[i],
                  1e-14);
    }
    for (const bool has_channel : {true, false}) {
      for (const bool has_samples : {true, false}) {
        check_op({"add_branch",
                  {{"x", x}, {"branch", branch}, {"channel", has_channel ? channel : Tensor()}},
                  [&](const auto& in) {
                    return std::vector{
                        add_branch(in[0], in[1], in[2], has_samples ? samples.to(in[0].dtype()) : Tensor())};
                  }});
      }
    }
  }
  const Var x(Tensor::zeros({3, 4, 5}));
  test::expect_shape_error([&] { add_branch(x, Var(Tensor::zeros({3, 4, 4})), {}, {}); }, {"add_branch", "[3, 4, 4]"});
}

}  // namespace
}  // namespace rwkvlab
