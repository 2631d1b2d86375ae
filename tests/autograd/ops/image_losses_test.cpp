#include "autograd/ops/image_losses.h"

#include <gmock/gmock.h>

#include <cmath>

#include "autograd/ops/cross_entropy.h"
#include "tests/support/op_check.h"

namespace rwkvlab {
namespace {

using test::check_op;
using test::normal_tensor;

Tensor labels_of(const std::vector<std::int64_t>& labels) {
  return Tensor::from<std::int64_t>({static_cast<std::int64_t>(labels.size())}, labels);
}

TEST(ImageLosses, WithoutSmoothingItIsCrossEntropy) {
  const Tensor logits = normal_tensor({4, 7}, "logits", 3), labels = labels_of({6, -1, 0, 3});
  const RowLoss soft = soft_cross_entropy(Var(logits), smoothed_targets(labels, {}, 7, 0, DType::f64));
  const CrossEntropyLoss hard = cross_entropy(Var(logits), labels);
  EXPECT_EQ(soft.counted, 3);
  EXPECT_NEAR(soft.loss.value().item(), hard.loss.value().item(), 1e-14);
  EXPECT_TRUE(test::close(soft.row_losses, hard.row_losses, 1e-14));
}

TEST(ImageLosses, SmoothedTargets) {
  const Tensor hard = smoothed_targets(labels_of({1, -1}), {}, 4, 0.2, DType::f64);
  EXPECT_THAT(hard.to_doubles(),
              testing::Pointwise(testing::DoubleNear(1e-15), {0.05, 0.85, 0.05, 0.05, 0., 0., 0., 0.}));
  const std::vector<float> mixed = {0.25F, 0.75F};
  const Tensor soft = smoothed_targets(labels_of({0}), Tensor::from<float>({1, 2}, mixed), 2, 0.1, DType::f64);
  EXPECT_THAT(soft.to_doubles(), testing::Pointwise(testing::DoubleNear(1e-7), {0.275, 0.725}));
  EXPECT_THROW(smoothed_targets(labels_of({4}), {}, 4, 0, DType::f32), DataError);
  EXPECT_THROW(smoothed_targets(labels_of({-2}), {}, 4, 0, DType::f32), DataError);
}

TEST(ImageLosses, GradientsOfSoftCrossEntropy) {
  for (const std::int64_t classes : {1, 3, 17}) {
    const Tensor targets = smoothed_targets(labels_of({0, -1, classes - 1}), {}, classes, 0.3, DType::f64);
    check_op({"soft_cross_entropy", {{"logits", normal_tensor({3, classes}, "logits", 2)}}, [&](const auto& in) {
                return std::vector{soft_cross_entropy(in[0], targets.to(in[0].dtype())).loss};
              }});
  }
  // Large logits do not overflow.
  const Var logits = Var::leaf(normal_tensor({2, 5}, "logits", 1000, DType::f32));
  Tape tape;
  const RowLoss loss = soft_cross_entropy(logits, smoothed_targets(labels_of({0, 1}), {}, 5, 0.1, DType::f32));
  tape.backward(loss.loss);
  EXPECT_TRUE(test::all_finite(loss.loss.value()));
  EXPECT_TRUE(test::all_finite(logits.grad()));
  test::expect_shape_error(
      [&] {
        soft_cross_entropy(logits, Tensor::zeros({2, 4}));
      },
      {"soft_cross_entropy", "[2, 5]"});
}

TEST(ImageLosses, MaskedSquaredError) {
  const Tensor p = normal_tensor({2, 3, 5}, "p"), t = normal_tensor({2, 3, 5}, "t");
  const std::vector<double> marks = {1, 0, 1, 0, 0, 1};
  const Tensor mask = Tensor::from<double>({2, 3}, marks);
  double expected = 0;
  for (std::int64_t i = 0; i < 30; ++i) {
    const double difference = p.data<double>()[i] - t.data<double>()[i];
    expected += marks[static_cast<std::size_t>(i / 5)] * difference * difference / 15;
  }
  const RowLoss loss = masked_squared_error(Var(p), Var(t), mask);
  EXPECT_NEAR(loss.loss.value().item(), expected, 1e-14);
  EXPECT_EQ(loss.counted, 3);
  EXPECT_EQ(loss.row_losses.to_doubles()[1], 0);
  check_op({"masked_squared_error", {{"prediction", p}, {"target", t}}, [&](const auto& in) {
              return std::vector{masked_squared_error(in[0], in[1], mask.to(in[0].dtype())).loss};
            }});
  test::expect_shape_error(
      [&] {
        masked_squared_error(Var(p), Var(t), Tensor::zeros({2, 2}, DType::f64));
      },
      {"masked_squared_error", "[2, 3, 5]"});
}

}  // namespace
}  // namespace rwkvlab
