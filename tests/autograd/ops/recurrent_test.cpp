#include "autograd/ops/recurrent.h"

#include <cmath>

#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

struct Sizes {
  std::int64_t batch, time, channels;
};
// One of everything, odd sizes, and more rows than one piece of a kernel has.
const std::vector<Sizes> all_sizes = {{1, 1, 1}, {3, 5, 7}, {9, 4, 3}};

std::vector<std::pair<std::string, Tensor>> inputs(const Sizes& s, std::int64_t blocks, bool has_hidden) {
  const std::int64_t width = blocks * s.channels;
  return {{"input", normal_tensor({s.batch, s.time, width}, "input")},
          {"weight", normal_tensor({width, s.channels}, "weight", 0.5)},
          {"bias", normal_tensor({width}, "bias")},
          {"hidden", has_hidden ? normal_tensor({s.batch, s.channels}, "hidden") : Tensor()}};
}

TEST(Recurrent, GradientsForOddShapes) {
  for (const Sizes& s : all_sizes) {
    for (const bool has_state : {false, true}) {
      SCOPED_TRACE(testing::Message() << s.batch << " x " << s.time << " x " << s.channels << ", state " << has_state);
      auto of_lstm = inputs(s, 4, has_state);
      of_lstm.emplace_back("memory", has_state ? normal_tensor({s.batch, s.channels}, "memory") : Tensor());
      test::check_op({"lstm", of_lstm, [](const std::vector<Var>& in) {
                        const LstmResult result = lstm(in[0], in[1], in[2], in[3], in[4]);
                        return std::vector{result.y, result.memories};
                      }});
      test::check_op({"gru", inputs(s, 3, has_state),
                      [](const std::vector<Var>& in) { return std::vector{gru(in[0], in[1], in[2], in[3])}; }});
    }
  }
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

TEST(Recurrent, OneChannelByHand) {
  const auto of = [](const std::vector<double>& values, const Shape& shape) {
    return Var(Tensor::from<double>(shape, values));
  };
  const double h = 0.4, c = -0.7, w = 0.9, b = 0.1;
  const std::vector<double> a = {0.3, -0.2, 0.5, 0.8};
  const LstmResult result =
      lstm(of(a, {1, 1, 4}), of({w, w, w, w}, {4, 1}), of({b, b, b, b}, {4}), of({h}, {1, 1}), of({c}, {1, 1}));
  const double r = w * h + b;
  const double memory = logistic(a[1] + r) * c + logistic(a[0] + r) * std::tanh(a[2] + r);
  EXPECT_NEAR(result.memories.value().to_doubles()[0], memory, 1e-15);
  EXPECT_NEAR(result.y.value().to_doubles()[0], logistic(a[3] + r) * std::tanh(memory), 1e-15);
  const Var y = gru(of({a[0], a[1], a[2]}, {1, 1, 3}), of({w, w, w}, {3, 1}), of({b, b, b}, {3}), of({h}, {1, 1}));
  const double z = logistic(a[1] + r), n = std::tanh(a[2] + logistic(a[0] + r) * r);
  EXPECT_NEAR(y.value().to_doubles()[0], (1 - z) * n + z * h, 1e-15);
}

TEST(Recurrent, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var input(Tensor::zeros({2, 3, 12})), weight(Tensor::zeros({12, 3})), bias(Tensor::zeros({12}));
  const Var state(Tensor::zeros({2, 3})), other(Tensor::zeros({1, 3}));
  EXPECT_NO_THROW(lstm(input, weight, bias, state, state));
  test::expect_shape_error([&] { lstm(input, weight, bias, other, state); }, {"lstm", "[1, 3]"});
  test::expect_shape_error([&] { lstm(input, weight, other, state, state); }, {"lstm", "bias"});
  test::expect_shape_error([&] { gru(input, weight, bias, state); }, {"gru", "[12, 3]"});
}

}  // namespace
}  // namespace rwkvlab
