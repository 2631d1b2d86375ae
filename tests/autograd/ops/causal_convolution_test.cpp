#include "autograd/ops/causal_convolution.h"

#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

// Sequences shorter and longer than the convolution, and longer than one piece of the weight's gradient.
TEST(CausalConvolutionOp, Gradients) {
  struct Sizes {
    std::int64_t batch, time, channels, taps;
  };
  for (const Sizes& s : {Sizes{1, 1, 1, 1}, {2, 2, 3, 4}, {1, 5, 2, 2}, {3, 19, 5, 4}, {1, 40, 33, 3}, {2, 3, 2, 4}}) {
    for (const bool carried : {true, false}) {
      SCOPED_TRACE(testing::Message() << s.batch << " x " << s.time << " x " << s.channels << ", " << s.taps
                                      << " taps, carried " << carried);
      const bool with_state = carried && s.taps > 1, with_bias = carried != (s.time == 5);
      test::OpCase op{"causal_convolution",
                      {{"x", normal_tensor({s.batch, s.time, s.channels}, "x")},
                       {"weight", normal_tensor({s.channels, 1, s.taps}, "weight")},
                       {"bias", with_bias ? normal_tensor({s.channels}, "bias") : Tensor()},
                       {"state", with_state ? normal_tensor({s.batch, s.taps - 1, s.channels}, "state") : Tensor()}},
                      [=](const std::vector<Var>& in) {
                        const auto [y, final_state] = causal_convolution(in[0], in[1], in[2], in[3], with_state);
                        return std::vector{y, final_state};
                      }};
      test::check_op(op);
    }
  }
}

TEST(CausalConvolutionOp, TheLastTapWeighsThePresentToken) {
  const Var x(Tensor::from<double>({1, 3, 2}, std::vector<double>{1, 10, 2, 20, 3, 30}));
  const Var weight(Tensor::from<double>({2, 3}, std::vector<double>{1, 2, 3, 0, 0, 1}));
  const Var bias(Tensor::from<double>({2}, std::vector<double>{0.5, 0}));
  const Var state(Tensor::from<double>({1, 2, 2}, std::vector<double>{-1, 7, -2, 8}));
  const auto [y, kept] = causal_convolution(x, weight, bias, state, true);
  EXPECT_EQ(y.value().to_doubles(), (std::vector<double>{-1.5, 10, 6.5, 20, 14.5, 30}));
  EXPECT_EQ(kept.value().to_doubles(), (std::vector<double>{2, 20, 3, 30}));
  const auto [first, between] =
      causal_convolution(Var(x.value().reshaped({3, 2}).rows(0, 1).reshaped({1, 1, 2})), weight, bias, state, true);
  EXPECT_EQ(between.value().to_doubles(), (std::vector<double>{-2, 8, 1, 10})) << "fewer tokens than taps";
}

TEST(CausalConvolutionOp, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var x(Tensor::zeros({2, 3, 4})), weight(Tensor::zeros({4, 3})), wrong(Tensor::zeros({5, 3}));
  test::expect_shape_error([&] { causal_convolution(x, wrong, {}, {}, false); }, {"causal_convolution", "[5, 3]"});
  test::expect_shape_error([&] { causal_convolution(x, weight, wrong, {}, false); }, {"causal_convolution", "bias"});
  test::expect_shape_error([&] { causal_convolution(x, weight, {}, x, false); }, {"causal_convolution", "state"});
}

}  // namespace
}  // namespace rwkvlab
