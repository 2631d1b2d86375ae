#include "autograd/ops/token_lerp.h"

#include "autograd/ops/token_shift.h"
#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

TEST(TokenLerpOp, Gradients) {
  for (const Shape& shape : test::odd_shapes()) {
    for (const std::int64_t weights : {1, 5}) {
      for (const bool carried : {false, true}) {
        SCOPED_TRACE(shape.text() + ", " + std::to_string(weights) + " weights" + (carried ? ", carried" : ""));
        test::OpCase op;
        op.name = "token_lerp";
        op.samples = 4;
        op.inputs = {{"x", normal_tensor(shape, "x")},
                     {"previous", carried ? normal_tensor({shape[0], shape[2]}, "previous") : Tensor()},
                     {"correction", normal_tensor({weights, shape[0] * shape[1], shape[2]}, "correction", 0.5)}};
        for (std::int64_t j = 0; j < weights; ++j) {
          const std::string name = "weight" + std::to_string(j);
          op.inputs.emplace_back(name, normal_tensor({1, 1, shape[2]}, name));
        }
        op.apply = [](const std::vector<Var>& in) {
          return token_lerp(in[0], in[1], {in.begin() + 3, in.end()}, in[2]);
        };
        test::check_op(op);
      }
    }
  }
}

TEST(TokenLerpOp, BlendsWithThePredecessor) {
  const Var x(Tensor::from<double>({1, 3, 1}, std::vector<double>{1, 2, 4}));
  const Var previous(Tensor::from<double>({1, 1}, std::vector<double>{8}));
  const Var weight(Tensor::full({1}, 0.25, DType::f64));
  const Var correction(Tensor::from<double>({1, 3, 1}, std::vector<double>{0, 0.25, 0.75}));
  EXPECT_EQ(token_lerp(x, previous, {weight}, correction)[0].value().to_doubles(), (std::vector<double>{2.75, 1.5, 2}));
}

TEST(TokenLerpOp, WithATokenShift) {
  const TokenShift shift = TokenShift::q_shift({2, 3, 1}, 9, 0.25);
  test::check_op({"token_lerp",
                  {{"x", normal_tensor({2, 7, 9}, "x")},
                   {"correction", normal_tensor({2, 14, 9}, "correction", 0.5)},
                   {"weight0", normal_tensor({9}, "weight0")},
                   {"weight1", normal_tensor({9}, "weight1")}},
                  [&](const std::vector<Var>& in) {
                    return token_lerp(in[0], {}, {in[2], in[3]}, in[1], &shift);
                  }});
  const Var x(normal_tensor({2, 7, 9}, "x")), weight(normal_tensor({9}, "weight"));
  EXPECT_TRUE(test::close(token_lerp(x, {}, {weight}, Var(Tensor::zeros({1, 14, 9}, DType::f64)), &shift)[0].value(),
                          token_mix(x, {}, {weight}, MixedToken::previous, &shift)[0].value(), 1e-14));
}

TEST(TokenLerpOp, WithoutCorrectionsItIsTheMixOfThePredecessor) {
  const Var x(normal_tensor({2, 5, 7}, "x")), weight(normal_tensor({7}, "weight"));
  EXPECT_TRUE(test::close(token_lerp(x, {}, {weight}, Var(Tensor::zeros({1, 10, 7}, DType::f64)))[0].value(),
                          token_mix(x, {}, {weight}, MixedToken::previous)[0].value(), 1e-14));
}

TEST(TokenLerpOp, GroupsAndRepeats) {
  test::check_op({"channel_groups", {{"x", normal_tensor({2, 3, 15}, "x")}}, [](const std::vector<Var>& in) {
                    return std::vector{channel_groups(in[0], 5)};
                  }});
  test::check_op({"repeat_elements", {{"x", normal_tensor({7}, "x")}}, [](const std::vector<Var>& in) {
                    return std::vector{repeat_elements(in[0], 3)};
                  }});
  const Var x(Tensor::from<double>({1, 2, 4}, std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(channel_groups(x, 2).value().to_doubles(), (std::vector<double>{1, 2, 5, 6, 3, 4, 7, 8}));
  EXPECT_EQ(repeat_elements(Var(Tensor::from<double>({2}, std::vector<double>{1, 2})), 2).value().to_doubles(),
            (std::vector<double>{1, 1, 2, 2}));
}

TEST(TokenLerpOp, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var x(Tensor::zeros({2, 3, 4})), weight(Tensor::zeros({4})), good(Tensor::zeros({1, 6, 4}));
  test::expect_shape_error(
      [&] {
        token_lerp(x, Var(Tensor::zeros({2, 5})), {weight}, good);
      },
      {"token_lerp", "[2, 5]"});
  test::expect_shape_error([&] { token_lerp(x, {}, {weight, weight}, good); }, {"token_lerp", "[1, 6, 4]"});
  test::expect_shape_error([&] { token_lerp(x, {}, {Var(Tensor::zeros({5}))}, good); }, {"token_lerp", "[5]"});
  test::expect_shape_error([&] { token_lerp(x, {}, {}, good); }, {"token_lerp"});
  test::expect_shape_error([&] { channel_groups(x, 3); }, {"channel_groups", "[2, 3, 4]"});
  test::expect_shape_error([&] { repeat_elements(x, 0); }, {"repeat_elements"});
}

}  // namespace
}  // namespace rwkvlab
