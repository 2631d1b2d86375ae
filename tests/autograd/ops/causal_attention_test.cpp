#include "autograd/ops/causal_attention.h"

#include <cmath>

#include "kernels/matmul.h"
#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

// The definition, row by row.
Tensor plain_attention(const Tensor& q, const Tensor& k, const Tensor& v, std::int64_t heads,
                       const std::vector<double>& slopes) {
  const std::int64_t batch = q.shape()[0], queries = q.shape()[1], keys = k.shape()[1], channels = q.shape()[2];
  const std::int64_t d = channels / heads;
  const Tensor y = Tensor::zeros(q.shape(), DType::f64);
  const auto at = [&](const Tensor& x, std::int64_t b, std::int64_t t, std::int64_t c) -> double& {
    return x.data<double>()[(b * x.shape()[1] + t) * channels + c];
  };
  for (std::int64_t row = 0; row < batch * heads * queries; ++row) {
    const std::int64_t b = row / (heads * queries), h = row / queries % heads, t = row % queries;
    const std::int64_t now = keys - queries + t;
    std::vector<double> weights;
    double sum = 0;
    for (std::int64_t i = 0; i <= now; ++i) {
      double score = 0;
      for (std::int64_t c = h * d; c < (h + 1) * d; ++c) score += at(q, b, t, c) * at(k, b, i, c);
      const double slope = slopes.empty() ? 0 : slopes[static_cast<std::size_t>(h)];
      weights.push_back(std::exp(score / std::sqrt(static_cast<double>(d)) - slope * static_cast<double>(now - i)));
      sum += weights.back();
    }
    for (std::int64_t i = 0; i <= now; ++i) {
      for (std::int64_t c = h * d; c < (h + 1) * d; ++c) {
        at(y, b, t, c) += weights[static_cast<std::size_t>(i)] / sum * at(v, b, i, c);
      }
    }
  }
  return y;
}

struct Sizes {
  std::int64_t batch, queries, keys, heads, head_size;
};

// One token, one block, several blocks with a part of one, and chunks that go on from a cache.
const std::vector<Sizes> all_sizes = {{1, 1, 1, 1, 1}, {3, 5, 5, 2, 3}, {2, 13, 13, 3, 4}, {1, 130, 130, 1, 2},
                                      {2, 1, 7, 2, 3}, {1, 3, 5, 2, 1}, {1, 70, 139, 2, 3}};

TEST(CausalAttentionOp, IsTheDefinition) {
  for (const Sizes& s : all_sizes) {
    SCOPED_TRACE(testing::Message() << s.queries << " of " << s.keys << " tokens, " << s.heads << " heads");
    const Shape q_shape = {s.batch, s.queries, s.heads * s.head_size}, k_shape = {s.batch, s.keys, q_shape[2]};
    const Tensor q = normal_tensor(q_shape, "q", 2), k = normal_tensor(k_shape, "k", 2),
                 v = normal_tensor(k_shape, "v");
    for (const std::vector<double>& slopes :
         {std::vector<double>(), std::vector<double>(static_cast<std::size_t>(s.heads), 0.3)}) {
      const Tensor y = causal_attention(Var(q), Var(k), Var(v), s.heads, slopes).value();
      // Both sum up to 139 terms in float64.
      EXPECT_TRUE(test::close(y, plain_attention(q, k, v, s.heads, slopes), 1e-13));
    }
  }
}

TEST(CausalAttentionOp, GradientsForOddShapes) {
  for (const Sizes& s : all_sizes) {
    SCOPED_TRACE(testing::Message() << s.queries << " of " << s.keys << " tokens, " << s.heads << " heads");
    const Shape q_shape = {s.batch, s.queries, s.heads * s.head_size}, k_shape = {s.batch, s.keys, q_shape[2]};
    const std::vector<double> slopes(static_cast<std::size_t>(s.heads), 0.2);
    test::OpCase op = {"causal_attention",
                       {{"query", normal_tensor(q_shape, "q")},
                        {"key", normal_tensor(k_shape, "k")},
                        {"value", normal_tensor(k_shape, "v")}},
                       [&](const std::vector<Var>& in) {
                         return std::vector{causal_attention(in[0], in[1], in[2], s.heads, slopes)};
                       }};
    op.samples = s.queries > 20 ? 3 : 6;
    test::check_op(op);
  }
}

TEST(CausalAttentionOp, OverAllKeysTheOrderOfTheKeysDoesNotCount) {
  for (const std::int64_t time : {1, 5, 130}) {
    const Shape shape = {2, time, 6};
    const Tensor q = normal_tensor(shape, "q"), k = normal_tensor(shape, "k"), v = normal_tensor(shape, "v");
    // The last query of a causal attention sees all keys: every query is the last one in turn.
    const Tensor y = full_attention(Var(q), Var(k), Var(v), 2).value();
    for (const std::int64_t t : {std::int64_t{0}, time / 2, time - 1}) {
      const Tensor one = Tensor::empty({2, 1, 6}, DType::f64), expected = Tensor::empty({2, 1, 6}, DType::f64);
      for (std::int64_t b = 0; b < 2; ++b) {
        std::copy_n(q.data<double>() + (b * time + t) * 6, 6, one.data<double>() + b * 6);
        std::copy_n(y.data<double>() + (b * time + t) * 6, 6, expected.data<double>() + b * 6);
      }
      // Both sum up to 130 terms in float64.
      EXPECT_TRUE(test::close(causal_attention(Var(one), Var(k), Var(v), 2).value(), expected, 1e-13));
    }
    test::OpCase op = {"full_attention", {{"query", q}, {"key", k}, {"value", v}}, [&](const std::vector<Var>& in) {
                         return std::vector{full_attention(in[0], in[1], in[2], 2)};
                       }};
    op.samples = 3;
    test::check_op(op);
  }
}

TEST(CausalAttentionOp, LargeScoresStayFinite) {
  const Tensor q = normal_tensor({1, 9, 4}, "q", 300, DType::f32), v = normal_tensor({1, 9, 4}, "v", 1, DType::f32);
  const Var query = Var::leaf(q);
  Tape tape;
  const Var y = causal_attention(query, Var(q), Var(v), 2);
  tape.backward({y}, {v});
  EXPECT_TRUE(test::all_finite(y.value()));
  EXPECT_TRUE(test::all_finite(query.grad()));
}

TEST(CausalAttentionOp, RecordersSeeItsProductsAlsoInShapeOnlyMode) {
  const Shape shape = {2, 128, 12};
  // Blocks of 64 queries see 64 and 128 keys: forward 2 products, backward 5, of 2 · 64 · keys · 4 each and 6 heads.
  const double expected = 7.0 * 2 * 64 * (64 + 128) * 4 * 6;
  const auto flops = [&] {
    kernels::MatmulRecorder recorder;
    const Var q = Var::leaf(Tensor::empty(shape));
    if (!ShapeOnly::active()) q.value().fill(0.1);
    Tape tape;
    const Var y = causal_attention(q, q, q, 3);
    tape.backward({y}, {y.value()});
    return recorder.flops();
  };
  EXPECT_EQ(flops(), expected);
  const ShapeOnly shape_only;
  EXPECT_EQ(flops(), expected);
}

TEST(AppendTokens, JoinsAndSplitsGradients) {
  for (const std::int64_t before : {1, 4}) {
    test::check_op({"append_tokens",
                    {{"past", normal_tensor({2, before, 3}, "past")}, {"x", normal_tensor({2, 5, 3}, "x")}},
                    [](const std::vector<Var>& in) { return std::vector{append_tokens(in[0], in[1])}; }});
  }
  const Var x(normal_tensor({2, 5, 3}, "x"));
  EXPECT_TRUE(test::equal_bytes(append_tokens(Var(), x).value(), x.value()));
  EXPECT_TRUE(test::equal_bytes(append_tokens(Var(Tensor::zeros({2, 0, 3}, DType::f64)), x).value(), x.value()));
}

TEST(CausalAttentionOp, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var x(Tensor::zeros({2, 5, 6})), shorter(Tensor::zeros({2, 3, 6})), narrow(Tensor::zeros({2, 5, 4}));
  test::expect_shape_error([&] { causal_attention(x, shorter, shorter, 2); }, {"causal_attention", "[2, 3, 6]"});
  test::expect_shape_error([&] { causal_attention(x, x, narrow, 2); }, {"causal_attention", "[2, 5, 4]"});
  test::expect_shape_error([&] { causal_attention(x, x, x, 4); }, {"causal_attention", "divide"});
  test::expect_shape_error([&] { causal_attention(x, x, x, 2, {0.5}); }, {"causal_attention", "slope"});
  test::expect_shape_error([&] { append_tokens(narrow, x); }, {"append_tokens", "[2, 5, 4]"});
}

}  // namespace
}  // namespace rwkvlab
