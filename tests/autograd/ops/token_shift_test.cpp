#include "autograd/ops/token_shift.h"

#include <numeric>

#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

TEST(TokenShiftOps, TokenMixGradients) {
  for (const Shape& shape : test::odd_shapes()) {
    for (const int mixes : {1, 3, 6}) {
      for (const bool carried : {false, true}) {
        SCOPED_TRACE(shape.text() + ", " + std::to_string(mixes) + " mixes" + (carried ? ", carried" : ""));
        if (mixes == 6 && shape[1] == 3) continue;  // Saves time; the corner shapes remain.
        test::OpCase op;
        op.name = "token_mix";
        op.samples = 4;
        op.inputs = {{"x", normal_tensor(shape, "x")},
                     {"previous", carried ? normal_tensor({shape[0], shape[2]}, "previous") : Tensor()}};
        for (int j = 0; j < mixes; ++j) {
          const std::string name = "mix" + std::to_string(j);
          op.inputs.emplace_back(name, normal_tensor({1, 1, shape[2]}, name));
        }
        op.apply = [](const std::vector<Var>& in) { return token_mix(in[0], in[1], {in.begin() + 2, in.end()}); };
        test::check_op(op);
      }
    }
  }
}

TEST(TokenShiftOps, BlendsWithThePredecessor) {
  const Var x(Tensor::from<double>({1, 3, 1}, std::vector<double>{1, 2, 4}));
  const Var previous(Tensor::from<double>({1, 1}, std::vector<double>{8}));
  const Var mix(Tensor::full({1}, 0.25, DType::f64));
  EXPECT_EQ(token_mix(x, previous, {mix})[0].value().to_doubles(), (std::vector<double>{6.25, 1.25, 2.5}));
  EXPECT_EQ(token_mix(x, Var(), {mix})[0].value().to_doubles(), (std::vector<double>{0.25, 1.25, 2.5}));
}

TEST(TokenShiftOps, AMixMayWeighThePredecessor) {
  for (const Shape& shape : {Shape{1, 1, 5}, Shape{3, 13, 17}}) {
    SCOPED_TRACE(shape.text());
    test::check_op({"token_mix of previous",
                    {{"x", normal_tensor(shape, "x")},
                     {"previous", normal_tensor({shape[0], shape[2]}, "previous")},
                     {"mix0", normal_tensor({1, 1, shape[2]}, "mix0")},
                     {"mix1", normal_tensor({1, 1, shape[2]}, "mix1")}},
                    [](const std::vector<Var>& in) {
                      return token_mix(in[0], in[1], {in[2], in[3]}, MixedToken::previous);
                    }});
  }
  const Var x(Tensor::from<double>({1, 3, 1}, std::vector<double>{1, 2, 4}));
  const Var mix(Tensor::full({1}, 0.75, DType::f64));
  EXPECT_EQ(token_mix(x, Var(), {mix}, MixedToken::previous)[0].value().to_doubles(),
            (std::vector<double>{0.25, 1.25, 2.5}));
}

// Every kind of token shift, of a grid of 3 x 5 tokens (and a class token) with 8 channels.
std::vector<std::pair<std::string, TokenShift>> shifts() {
  const TokenGrid grid = {3, 5, 1};
  std::vector<std::int64_t> order(16);
  std::iota(order.rbegin(), order.rend(), std::int64_t{0});
  std::swap(order[2], order[9]);
  return {{"q_shift", TokenShift::q_shift(grid, 8)},
          {"q_shift of fewer channels, further", TokenShift::q_shift(grid, 8, 0.2, 2)},
          {"q_shift_heads", TokenShift::q_shift_heads(grid, 8, 2)},
          {"previous_token", TokenShift::previous_token(16, 8, 3)},
          {"double_shift", TokenShift::double_shift(16, 8)},
          {"permuted", TokenShift::q_shift(grid, 8).permuted(order)}};
}

TEST(TokenShiftOps, GradientsWithATokenShift) {
  for (const auto& [name, shift] : shifts()) {
    SCOPED_TRACE(name);
    test::check_op({"shift_tokens", {{"x", normal_tensor({2, 16, 8}, "x")}}, [&](const std::vector<Var>& in) {
                      return std::vector{shift_tokens(in[0], shift)};
                    }});
    test::check_op({"token_mix",
                    {{"x", normal_tensor({2, 16, 8}, "x")},
                     {"mix0", normal_tensor({8}, "mix0")},
                     {"mix1", normal_tensor({8}, "mix1")},
                     {"mix2", normal_tensor({8}, "mix2")}},
                    [&](const std::vector<Var>& in) {
                      return token_mix(in[0], {}, {in[1], in[2], in[3]}, MixedToken::current, &shift);
                    }});
    // A weight of 0 leaves the partner alone.
    const Var x(normal_tensor({2, 16, 8}, "x")), zero(Tensor::zeros({8}, DType::f64));
    EXPECT_TRUE(test::equal_bytes(token_mix(x, {}, {zero}, MixedToken::current, &shift)[0].value(),
                                  shift_tokens(x, shift).value()));
  }
}

// out[channel] of the token in row 1, column 2 (number 7 of 15), x = 100 token + channel + 1.
std::vector<double> middle_token(const TokenShift& shift, std::int64_t tokens, std::int64_t width, std::int64_t at) {
  const Tensor x = Tensor::empty({1, tokens, width}, DType::f64);
  for (std::int64_t i = 0; i < x.elements(); ++i) {
    x.data<double>()[i] = static_cast<double>(100 * (i / width) + i % width + 1);
  }
  const std::vector<double> all = shift_tokens(Var(x), shift).value().to_doubles();
  return {all.begin() + at * width, all.begin() + (at + 1) * width};
}

TEST(TokenShiftOps, QShiftReadsTheFourNeighbours) {
  const TokenGrid grid = {3, 5, 0}, with_class = {3, 5, 1};
  using Values = std::vector<double>;
  // Left, right, above, below; groups of 2, 3, 2 and 3 of 10 channels.
  const TokenShift shift = TokenShift::q_shift(grid, 10);
  EXPECT_EQ(middle_token(shift, 15, 10, 7), (Values{601, 602, 803, 804, 805, 206, 207, 1208, 1209, 1210}));
  EXPECT_EQ(middle_token(shift, 15, 10, 0), (Values{0, 0, 103, 104, 105, 0, 0, 508, 509, 510}));
  EXPECT_EQ(middle_token(shift, 15, 10, 14), (Values{1301, 1302, 0, 0, 0, 906, 907, 0, 0, 0}));
  // A fifth of 11 channels: 2.2, 4.4, 6.6, 8.8; the rest is not moved; two pixels leave the grid of three rows.
  EXPECT_EQ(middle_token(TokenShift::q_shift(grid, 11, 0.2, 2), 15, 11, 7),
            (Values{501, 502, 903, 904, 0, 0, 0, 0, 709, 710, 711}));
  EXPECT_EQ(middle_token(TokenShift::q_shift_heads(with_class, 8, 2), 16, 8, 7),
            (Values{601, 802, 203, 1204, 605, 806, 207, 1208}));
  EXPECT_EQ(middle_token(TokenShift::q_shift_heads(with_class, 8, 2), 16, 8, 15),
            (Values{1501, 1502, 1503, 1504, 1505, 1506, 1507, 1508}));
  EXPECT_EQ(middle_token(TokenShift::previous_token(15, 2, 3), 15, 2, 7), (Values{401, 402}));
  EXPECT_EQ(middle_token(TokenShift::previous_token(15, 2, 3), 15, 2, 2), (Values{0, 0}));
  EXPECT_EQ(middle_token(TokenShift::double_shift(15, 9), 15, 9, 7), (Values{0, 0, 0, 0, 605, 606, 807, 808, 809}));
}

TEST(TokenShiftOps, APermutedShiftIsTheShiftInAnotherOrder) {
  const std::vector<std::int64_t> order = {3, 0, 5, 1, 4, 2};
  const TokenShift shift = TokenShift::q_shift({2, 3, 0}, 4), permuted = shift.permuted(order);
  const auto reordered = [&](const Tensor& x) {
    const Tensor y = Tensor::empty(x.shape(), x.dtype());
    const Tensor from = x.reshaped({6, 4}), to = y.reshaped({6, 4});
    for (std::int64_t j = 0; j < 6; ++j) to.rows(j, j + 1).copy_from(from.rows(order[j], order[j] + 1));
    return y;
  };
  const Tensor x = normal_tensor({1, 6, 4}, "x");
  EXPECT_TRUE(test::equal_bytes(shift_tokens(Var(reordered(x)), permuted).value(),
                                reordered(shift_tokens(Var(x), shift).value())));
  EXPECT_THROW((void)shift.permuted(std::vector<std::int64_t>{0, 1}), ShapeError);
  EXPECT_THROW((void)shift.permuted(std::vector<std::int64_t>{0, 1, 2, 3, 4, 4}), ShapeError);
}

TEST(TokenShiftOps, ImpossibleTokenShiftsAreRefused) {
  EXPECT_THROW(TokenShift::q_shift({2, 2, 0}, 8, 0.3), ConfigError);
  EXPECT_THROW(TokenShift::q_shift_heads({2, 2, 0}, 12, 2), ConfigError);
  const TokenShift shift = TokenShift::q_shift({2, 2, 0}, 8);
  const Var x(Tensor::zeros({1, 5, 8})), mix(Tensor::zeros({8}));
  test::expect_shape_error([&] { shift_tokens(x, shift); }, {"shift_tokens", "[1, 5, 8]"});
  test::expect_shape_error([&] { token_mix(x, {}, {mix}, MixedToken::current, &shift); }, {"token_mix", "[1, 5, 8]"});
}

TEST(TokenShiftOps, LastTokenGradients) {
  for (const Shape& shape : test::odd_shapes()) {
    test::check_op({"last_token", {{"x", normal_tensor(shape, "x")}}, [](const std::vector<Var>& in) {
                      return std::vector{last_token(in[0])};
                    }});
  }
}

TEST(TokenShiftOps, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var x(Tensor::zeros({2, 3, 4})), mix(Tensor::zeros({4}));
  test::expect_shape_error(
      [&] {
        token_mix(x, Var(Tensor::zeros({2, 5})), {mix});
      },
      {"token_mix", "[2, 3, 4]", "[2, 5]"});
  test::expect_shape_error([&] { token_mix(x, Var(), {Var(Tensor::zeros({5}))}); }, {"token_mix", "[5]"});
  test::expect_shape_error([&] { token_mix(x, Var(), {}); }, {"token_mix"});
  test::expect_shape_error([&] { token_mix(x, Var(), std::vector<Var>(7, mix)); }, {"token_mix"});
  test::expect_shape_error([&] { last_token(Var(Tensor::zeros({2, 0, 4}))); }, {"last_token", "[2, 0, 4]"});
}

}  // namespace
}  // namespace rwkvlab
