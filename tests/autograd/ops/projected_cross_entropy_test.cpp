#include "autograd/ops/projected_cross_entropy.h"

#include "autograd/bfloat16_products.h"
#include "autograd/ops/linear.h"
#include "kernels/matmul.h"
#include "kernels/parallel.h"
#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::equal_bytes;
using test::normal_tensor;

Tensor some_targets(const Shape& shape, std::int64_t vocabulary) {
  const Tensor targets = test::random_tokens({shape[0], shape[1]}, vocabulary, "targets");
  if (shape[1] == 13) targets.data<std::int64_t>()[4] = kernels::ignored_target;
  return targets;
}

TEST(ProjectedCrossEntropyOp, Gradients) {
  for (const Shape& shape : {Shape{1, 1, 1}, Shape{3, 13, 5}, Shape{1, 13, 17}}) {
    SCOPED_TRACE(shape.text());
    const Tensor targets = some_targets(shape, 7);
    test::check_op(
        {"projected_cross_entropy",
         {{"x", normal_tensor(shape, "x")}, {"weight", normal_tensor({7, shape[2]}, "weight")}},
         [&](const std::vector<Var>& in) { return std::vector{projected_cross_entropy(in[0], in[1], targets).loss}; }});
  }
}

struct Pass {
  Tensor loss, row_losses, grad_x, grad_weight;
  std::int64_t counted = 0;
};

Pass pass(bool fused, const Tensor& x, const Tensor& weight, const Tensor& targets, double l2wrap, double seed = 1) {
  const Var x_leaf = Var::leaf(x), weight_leaf = Var::leaf(weight);
  Tape tape;
  CrossEntropyLoss loss = fused ? projected_cross_entropy(x_leaf, weight_leaf, targets, l2wrap)
                                : cross_entropy(linear(x_leaf, weight_leaf), targets, l2wrap);
  tape.backward({loss.loss}, {Tensor::full({}, seed, x.dtype())});
  return {loss.loss.value(), loss.row_losses, x_leaf.grad(), weight_leaf.grad(), loss.counted};
}

void expect_equal(const Pass& actual, const Pass& expected) {
  EXPECT_TRUE(equal_bytes(actual.loss, expected.loss));
  EXPECT_TRUE(equal_bytes(actual.row_losses, expected.row_losses));
  EXPECT_TRUE(equal_bytes(actual.grad_x, expected.grad_x));
  EXPECT_TRUE(equal_bytes(actual.grad_weight, expected.grad_weight));
  EXPECT_EQ(actual.counted, expected.counted);
}

// Also for incoming gradients other than 1, which L2Wrap does not heed.
TEST(ProjectedCrossEntropyOp, SameBitsAsProjectionAndLoss) {
  const Tensor targets = some_targets({3, 13, 0}, 70);
  for (const DType type : {DType::f32, DType::f64}) {
    const Tensor x = normal_tensor({3, 13, 64}, "x", 1, type), weight = normal_tensor({70, 64}, "weight", 1, type);
    for (const double l2wrap : {0.0, 0.25}) {
      for (const double seed : {1.0, 0.125}) {
        const Pass expected = pass(false, x, weight, targets, l2wrap, seed);
        expect_equal(pass(true, x, weight, targets, l2wrap, seed), expected);
        if (!kernels::has_bfloat16_products() || type == DType::f64) continue;
        const Bfloat16Products products;
        const Pass reduced = pass(false, x, weight, targets, l2wrap, seed);
        EXPECT_FALSE(equal_bytes(reduced.loss, expected.loss));
        expect_equal(pass(true, x, weight, targets, l2wrap, seed), reduced);
      }
    }
  }
}

// 700 rows of 64,000 logits: two blocks. Blocks are added up where one product has one sum over all rows.
TEST(ProjectedCrossEntropyOp, SeveralBlocksOfRows) {
  const std::int64_t vocabulary = 64000, rows = 700;
  const Tensor targets = test::random_tokens({1, rows}, vocabulary, "targets");
  targets.data<std::int64_t>()[600] = kernels::ignored_target;
  const Tensor x = normal_tensor({1, rows, 3}, "x", 1, DType::f32);
  const Tensor weight = normal_tensor({vocabulary, 3}, "weight", 1, DType::f32);
  reset_peak_memory();
  const std::int64_t before = memory_use().live;
  const Pass fused = pass(true, x, weight, targets, 0.25);
  EXPECT_LT(memory_use().peak - before, vocabulary * rows * 4) << "the logits were stored whole";
  const Pass whole = pass(false, x, weight, targets, 0.25);
  EXPECT_TRUE(equal_bytes(fused.loss, whole.loss));
  EXPECT_TRUE(equal_bytes(fused.row_losses, whole.row_losses));
  EXPECT_TRUE(equal_bytes(fused.grad_x, whole.grad_x));
  // A sum of up to 700 terms, each rounded to 2^-24.
  EXPECT_TRUE(test::close(fused.grad_weight, whole.grad_weight, 2e-6));
  const int threads = kernels::threads();
  kernels::set_threads(threads == 1 ? 3 : 1);
  expect_equal(pass(true, x, weight, targets, 0.25), fused);
  kernels::set_threads(threads);
}

TEST(ProjectedCrossEntropyOp, AFrozenSideAndNoTape) {
  const Tensor x = normal_tensor({1, 4, 5}, "x"), weight = normal_tensor({7, 5}, "weight");
  const Tensor targets = test::random_tokens({1, 4}, 7, "targets");
  const Pass both = pass(true, x, weight, targets, 0);
  EXPECT_TRUE(equal_bytes(projected_cross_entropy(Var(x), Var(weight), targets).loss.value(), both.loss));
  Tape tape;
  const Var leaf = Var::leaf(x);
  tape.backward(projected_cross_entropy(leaf, Var(weight), targets).loss);
  EXPECT_TRUE(equal_bytes(leaf.grad(), both.grad_x));
}

TEST(ProjectedCrossEntropyOp, NoTargetCounts) {
  const Tensor none = Tensor::full({1, 3}, static_cast<double>(kernels::ignored_target), DType::i64);
  const Pass result = pass(true, normal_tensor({1, 3, 4}, "x"), normal_tensor({5, 4}, "weight"), none, 0);
  EXPECT_EQ(result.counted, 0);
  EXPECT_EQ(result.loss.item(), 0);
  EXPECT_EQ(test::largest(result.grad_weight), 0);
}

TEST(ProjectedCrossEntropyOp, ShapesAloneCountEveryProductWhereItBelongs) {
  const ShapeOnly shape_only;
  const Var x = Var::leaf(Tensor::empty({2, 700, 64})), weight = Var::leaf(Tensor::empty({50277, 64}));
  kernels::MatmulRecorder recorder;
  Tape tape;
  const Var loss = projected_cross_entropy(x, weight, Tensor::empty({2, 700}, DType::i64), 1e-4).loss;
  const double product = 2.0 * 1400 * 50277 * 64;
  EXPECT_EQ(recorder.flops(), product);
  tape.backward(loss);
  EXPECT_EQ(recorder.flops(), 3 * product);
  EXPECT_EQ(weight.grad().shape(), weight.shape());
}

TEST(ProjectedCrossEntropyOp, WrongTargetsAndShapes) {
  const Var x(Tensor::zeros({1, 2, 4})), weight(Tensor::zeros({3, 4}));
  EXPECT_THROW(projected_cross_entropy(x, weight, Tensor::full({1, 2}, 3, DType::i64)), DataError);
  test::expect_shape_error(
      [&] {
        projected_cross_entropy(x, weight, Tensor::zeros({1, 3}, DType::i64));
      },
      {"projected_cross_entropy", "[1, 2, 4]", "[3, 4]"});
}

}  // namespace
}  // namespace rwkvlab
