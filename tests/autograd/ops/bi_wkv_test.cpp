#include "autograd/ops/bi_wkv.h"

#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

TEST(BiWkvOp, Gradients) {
  for (const Shape& shape : test::odd_shapes()) {
    for (const BiWkvForm form : {BiWkvForm::paper, BiWkvForm::causal}) {
      SCOPED_TRACE(shape.text() + (form == BiWkvForm::causal ? ", causal" : ""));
      const Shape channels = {shape[2]};
      test::check_op(
          {"bi_wkv",
           {{"decay", normal_tensor(channels, "decay", 0.3)},
            {"first", normal_tensor(channels, "first")},
            {"k", normal_tensor(shape, "k")},
            {"v", normal_tensor(shape, "v")}},
           [form](const std::vector<Var>& in) { return std::vector{bi_wkv(in[0], in[1], in[2], in[3], form)}; },
           1e-5,
           6});
    }
  }
}

// Its gradients of k and v are not those of what it computes: kernels/bi_wkv.h. The kernel's test has more.
TEST(BiWkvOp, OfficialFormIsAnother) {
  const Var decay(normal_tensor({4}, "decay", 0.3)), first(normal_tensor({4}, "first"));
  const Var k(normal_tensor({2, 40, 4}, "k")), v(normal_tensor({2, 40, 4}, "v"));
  const Tensor paper = bi_wkv(decay, first, k, v).value();
  const Tensor official = bi_wkv(decay, first, k, v, BiWkvForm::official_cuda).value();
  EXPECT_FALSE(test::close(official, paper, 1e-3));
  EXPECT_TRUE(test::all_finite(official));
}

// Every token j reaches token t with the decays of the tokens strictly between them; the bonus is the current one's.
TEST(BiWkvOp, MatrixStatesAreReadFromBothEnds) {
  constexpr std::int64_t time = 6, n = 3;
  const auto input = [&](const char* name) { return normal_tensor({1, time, n}, name); };
  const Tensor r = input("r"), k = input("k"), v = input("v"), decay = input("decay"), u = normal_tensor({1, n}, "u");
  const Tensor y = bi_wkv6({Var(r), Var(k), Var(v), Var(decay), Var(u), n}).value();
  const auto at = [](const Tensor& x, std::int64_t t, std::int64_t i) { return x.data<double>()[t * n + i]; };
  std::vector<double> expected;
  for (std::int64_t t = 0; t < time; ++t) {
    for (std::int64_t c = 0; c < n; ++c) {
      double total = 0;
      for (std::int64_t j = 0; j < time; ++j) {
        for (std::int64_t i = 0; i < n; ++i) {
          double weight = j == t ? at(u, 0, i) : 1;
          for (std::int64_t m = std::min(j, t) + 1; m < std::max(j, t); ++m) {
            weight *= std::exp(-std::exp(at(decay, m, i)));
          }
          total += at(r, t, i) * weight * at(k, j, i) * at(v, j, c);
        }
      }
      expected.push_back(total);
    }
  }
  EXPECT_TRUE(test::close(y, Tensor::from<double>({1, time, n}, expected), 1e-13));
  const auto wide = [&](const char* name) { return normal_tensor({2, 5, 8}, name); };
  test::check_op({"bi_wkv6",
                  {{"receptance", wide("r")},
                   {"key", wide("k")},
                   {"value", wide("v")},
                   {"decay", wide("decay")},
                   {"bonus", normal_tensor({2, 4}, "u")}},
                  [](const std::vector<Var>& in) {
                    return std::vector{bi_wkv6({in[0], in[1], in[2], in[3], in[4], 4})};
                  }});
}

TEST(BiWkvOp, ShapeErrorsNameTheOperationAndTheShapes) {
  const Var w(Tensor::zeros({4})), x(Tensor::zeros({2, 3, 4}));
  test::expect_shape_error([&] { bi_wkv(w, w, x, Var(Tensor::zeros({2, 3, 5}))); }, {"bi_wkv", "[2, 3, 5]"});
  test::expect_shape_error([&] { bi_wkv(w, Var(Tensor::zeros({3})), x, x); }, {"bi_wkv", "[3]"});
}

}  // namespace
}  // namespace rwkvlab
