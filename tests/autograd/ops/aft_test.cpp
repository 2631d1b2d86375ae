#include "autograd/ops/aft.h"

#include <cmath>

#include "kernels/wkv4.h"
#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

struct Sizes {
  std::int64_t batch, queries, keys, channels, length;
};
// One token; more channels than a tile has; more rows than the kernel has pieces; a chunk after a cache.
const std::vector<Sizes> all_sizes = {{1, 1, 1, 1, 1}, {2, 7, 7, 67, 7}, {9, 5, 5, 3, 8}, {2, 3, 8, 5, 11}};

Tensor plain_aft(const Tensor& w, const Tensor& k, const Tensor& v, std::int64_t queries) {
  const std::int64_t batch = k.shape()[0], keys = k.shape()[1], channels = k.shape()[2], length = w.shape()[0];
  Tensor y = Tensor::zeros({batch, queries, channels}, DType::f64);
  for (std::int64_t i = 0; i < y.elements(); ++i) {
    const std::int64_t b = i / (queries * channels), now = keys - queries + i / channels % queries, c = i % channels;
    double above = 0, below = 0;
    for (std::int64_t s = 0; s <= now; ++s) {
      const std::int64_t at = (b * keys + s) * channels + c;
      const double weight = std::exp(k.data<double>()[at] + w.data<double>()[now * length + s]);
      above += weight * v.data<double>()[at];
      below += weight;
    }
    y.data<double>()[i] = above / below;
  }
  return y;
}

TEST(Aft, IsTheDefinitionAndItsGradientsAgreeWithDifferences) {
  for (const Sizes& s : all_sizes) {
    SCOPED_TRACE(testing::Message() << s.queries << " of " << s.keys << " tokens, " << s.channels << " channels");
    const Tensor w = normal_tensor({s.length, s.length}, "w"), k = normal_tensor({s.batch, s.keys, s.channels}, "k"),
                 v = normal_tensor({s.batch, s.keys, s.channels}, "v");
    // Sums of up to eight terms in float64.
    EXPECT_TRUE(test::close(aft(Var(w), Var(k), Var(v), s.queries).value(), plain_aft(w, k, v, s.queries), 1e-14));
    test::check_op({"aft", {{"bias", w}, {"key", k}, {"value", v}}, [&](const std::vector<Var>& in) {
                      return std::vector{aft(in[0], in[1], in[2], s.queries)};
                    }});
  }
}

TEST(Aft, SimpleIsFullWithoutBiasAlsoInChunks) {
  const Shape shape = {2, 9, 5};
  const Tensor k = normal_tensor(shape, "k", 3), v = normal_tensor(shape, "v");
  const Tensor w = Tensor::zeros({9, 9}, DType::f64);
  EXPECT_TRUE(test::close(aft_simple(Var(k), Var(v), {}, false).y.value(), plain_aft(w, k, v, 9), 1e-14));
  // A used state: rows a, b > 0 and p.
  const Tensor state = normal_tensor({2, 3, 5}, "state");
  for (double& x : state.span<double>()) x = std::fabs(x) + 0.1;
  test::check_op({"aft_simple", {{"key", k}, {"value", v}, {"state", state}}, [](const std::vector<Var>& in) {
                    return std::vector{aft_simple(in[0], in[1], in[2], true).y};
                  }});
}

TEST(Aft, LargeKeysStayFinite) {
  const Shape shape = {1, 9, 5};
  const Var k = Var::leaf(normal_tensor(shape, "k", 1000, DType::f32));
  const Tensor v = normal_tensor(shape, "v", 1, DType::f32);
  Tape tape;
  const Var y = aft(Var(normal_tensor({9, 9}, "w", 1000, DType::f32)), k, Var(v), 9);
  tape.backward({y}, {v});
  EXPECT_TRUE(test::all_finite(y.value()));
  EXPECT_TRUE(test::all_finite(k.grad()));
}

TEST(Aft, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var k(Tensor::zeros({2, 5, 6})), short_bias(Tensor::zeros({4, 4})), bias(Tensor::zeros({5, 5}));
  test::expect_shape_error([&] { aft(short_bias, k, k, 5); }, {"aft", "[4, 4]"});
  test::expect_shape_error([&] { aft(bias, k, k, 6); }, {"aft", "queries"});
  test::expect_shape_error([&] { aft(bias, k, Var(Tensor::zeros({2, 4, 6})), 5); }, {"aft", "[2, 4, 6]"});
}

}  // namespace
}  // namespace rwkvlab
