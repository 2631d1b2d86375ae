#include "autograd/ops/linear_attention.h"

#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

// Features are positive: far enough from 0 that no denominator is small.
Tensor features(const Shape& shape, const std::string& name) {
  const Tensor x = normal_tensor(shape, name);
  for (double& value : x.span<double>()) value = 0.2 + std::abs(value);
  return x;
}

TEST(LinearAttentionOp, Gradients) {
  struct Sizes {
    std::int64_t batch, time, heads, keys, values;
  };
  for (const Sizes& s : {Sizes{1, 1, 1, 1, 1}, {2, 3, 2, 3, 2}, {1, 35, 3, 2, 5}, {2, 17, 1, 6, 3}}) {
    for (const bool carried : {true, false}) {
      const Shape keys = {s.batch, s.time, s.heads * s.keys};
      SCOPED_TRACE(keys.text() + (carried ? ", carried" : ""));
      test::OpCase op{"linear_attention",
                      {{"query", features(keys, "q")},
                       {"key", features(keys, "k")},
                       {"value", normal_tensor({s.batch, s.time, s.heads * s.values}, "v")},
                       {"state", carried ? features({s.batch, s.heads, s.values + 1, s.keys}, "state") : Tensor()}},
                      [=](const std::vector<Var>& in) {
                        const auto [y, state] = linear_attention({in[0], in[1], in[2], in[3]}, s.heads, 1e-6, carried);
                        return std::vector{y, state};
                      }};
      test::check_op(op);
    }
  }
}

TEST(LinearAttentionOp, PartsGradients) {
  test::check_op({"append_ones", {{"x", normal_tensor({2, 3, 6}, "x")}}, [](const std::vector<Var>& in) {
                    return std::vector{append_ones(in[0], 2)};
                  }});
  test::check_op({"divide_by_last", {{"x", features({2, 3, 40}, "x")}}, [](const std::vector<Var>& in) {
                    return std::vector{divide_by_last(in[0], 2, 0.1)};
                  }});
  const Var x(Tensor::from<double>({1, 4}, std::vector<double>{1, 2, 3, 4}));
  EXPECT_EQ(append_ones(x, 2).value().to_doubles(), (std::vector<double>{1, 2, 1, 3, 4, 1}));
  EXPECT_EQ(divide_by_last(x, 2, 0).value().to_doubles(), (std::vector<double>{0.5, 0.75}));
}

// Σ_{s <= t} (q_t · k_s) v_s / Σ_{s <= t} q_t · k_s.
TEST(LinearAttentionOp, IsAnAttentionWhoseWeightsAddUpToOne) {
  const Tensor q = features({1, 4, 3}, "q"), k = features({1, 4, 3}, "k"), v = normal_tensor({1, 4, 2}, "v");
  const Tensor y = linear_attention({Var(q), Var(k), Var(v), {}}, 1, 0, false).y.value();
  for (int t = 0; t < 4; ++t) {
    double sum = 0, read[2] = {};
    for (int s = 0; s <= t; ++s) {
      double weight = 0;
      for (int c = 0; c < 3; ++c) weight += q.data<double>()[t * 3 + c] * k.data<double>()[s * 3 + c];
      sum += weight;
      for (int c = 0; c < 2; ++c) read[c] += weight * v.data<double>()[s * 2 + c];
    }
    for (int c = 0; c < 2; ++c) EXPECT_NEAR(y.data<double>()[t * 2 + c], read[c] / sum, 1e-14);
  }
}

TEST(LinearAttentionOp, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var x(Tensor::zeros({2, 3, 4}));
  test::expect_shape_error([&] { append_ones(x, 3); }, {"append_ones", "[2, 3, 4]"});
  test::expect_shape_error([&] { divide_by_last(x, 4, 0); }, {"divide_by_last", "[2, 3, 4]"});
  test::expect_shape_error([&] { linear_attention({x, x, x, x}, 2, 0, false); }, {"wkv7", "state"});
}

}  // namespace
}  // namespace rwkvlab
