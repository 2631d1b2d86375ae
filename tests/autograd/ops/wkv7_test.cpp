#include "autograd/ops/wkv7.h"

#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

Tensor log_decays(const Shape& shape) {
  const Tensor x = normal_tensor(shape, "log_decay", 0.5);
  for (double& value : x.span<double>()) value = -std::abs(value);
  return x;
}

TEST(Wkv7Op, Gradients) {
  struct Sizes {
    std::int64_t batch, time, heads, keys, values;
  };
  for (const Sizes& s : {Sizes{1, 1, 1, 1, 1}, {3, 3, 2, 3, 3}, {2, 17, 1, 5, 2}, {1, 35, 3, 4, 6}}) {
    for (const bool delta : {true, false}) {
      for (const bool carried : {true, false}) {
        const bool decays = delta == carried;
        const Shape shape = {s.batch, s.time, s.heads * s.keys}, values = {s.batch, s.time, s.heads * s.values};
        SCOPED_TRACE(shape.text() + (delta ? ", delta rule" : "") + (carried ? ", carried" : ""));
        const std::int64_t heads = s.heads;
        const Shape state = {s.batch, s.heads, s.values, s.keys};
        test::OpCase op{
            "wkv7",
            {{"receptance", normal_tensor(shape, "r")},
             {"log_decay", decays ? log_decays(shape) : Tensor()},
             {"key", normal_tensor(shape, "k", 0.5)},
             {"value", normal_tensor(values, "v")},
             {"a", delta ? normal_tensor(shape, "a", 0.3) : Tensor()},
             {"b", delta ? normal_tensor(shape, "b", 0.3) : Tensor()},
             {"state", carried ? normal_tensor(state, "state") : Tensor()}},
            [=](const std::vector<Var>& in) {
              const auto [y, final_state] = wkv7({in[0], in[1], in[2], in[3], in[4], in[5]}, in[6], heads, carried);
              return std::vector{y, final_state};
            }};
        op.samples = 6;
        test::check_op(op);
      }
    }
  }
}

TEST(Wkv7Op, TheDeltaRuleReplacesWhatIsStoredUnderAKey) {
  // Two writes under one unit key: the second read gives the second value alone.
  const Var key(Tensor::from<double>({1, 2, 2}, std::vector<double>{0.6, 0.8, 0.6, 0.8}));
  const Var removal(Tensor::from<double>({1, 2, 2}, std::vector<double>{-0.6, -0.8, -0.6, -0.8}));
  const Var value(Tensor::from<double>({1, 2, 2}, std::vector<double>{1, 2, 5, -3}));
  const Var keep(Tensor::zeros({1, 2, 2}, DType::f64));
  const Tensor y = wkv7({key, keep, key, value, removal, key}, {}, 1, false).y.value();
  EXPECT_TRUE(test::close(y, value.value(), 1e-15));
}

TEST(Wkv7Op, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var x(Tensor::zeros({2, 3, 4})), wrong(Tensor::zeros({2, 3, 5}));
  test::expect_shape_error([&] { wkv7({x, x, wrong, x, x, x}, {}, 2, false); }, {"wkv7", "[2, 3, 5]"});
  test::expect_shape_error([&] { wkv7({x, x, x, x, x, Var()}, {}, 2, false); }, {"wkv7", "neither"});
  test::expect_shape_error([&] { wkv7({x, x, x, x, x, x}, {}, 3, false); }, {"wkv7", "divide"});
  test::expect_shape_error([&] { wkv7({x, x, x, wrong, x, x}, {}, 2, false); }, {"wkv7", "[2, 3, 5]"});
  test::expect_shape_error(
      [&] {
        wkv7({x, x, x, Var(Tensor::zeros({2, 4, 4})), x, x}, {}, 2, false);
      },
      {"wkv7", "as many tokens"});
  test::expect_shape_error([&] { wkv7({x, x, x, x, x, x}, x, 2, false); }, {"wkv7", "state"});
}

}  // namespace
}  // namespace rwkvlab
