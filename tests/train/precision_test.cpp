// Trainings with bfloat16 products.
#include "train/precision.h"

#include <gtest/gtest.h>

#include "kernels/matmul.h"
#include "kernels/parallel.h"
#include "tests/temporary_folder.h"
#include "tests/train/small_training.h"

namespace rwkvlab {
namespace {

using test::all_weights;
using test::SmallTraining;
using test::Witness;

// Wide enough for bfloat16: every projection of the mixers is at least 64 x 64.
LanguageModelParams wide_model() {
  LanguageModelParams params = test::small_model_params();
  params.width = 64;
  return params;
}

TrainParams train_params(const std::string& precision, std::int64_t steps) {
  TrainParams params = test::small_train_params();
  params.precision = precision;
  params.steps = steps;
  params.learning_rate = 2e-3;
  return params;
}

struct Trained {
  std::vector<double> weights;
  Witness witness;
};

std::unique_ptr<Trained> train(const TrainParams& params, const std::filesystem::path& checkpoints = {},
                               std::int64_t stop_after = -1) {
  SmallTraining training(params, checkpoints, {}, wide_model());
  auto result = std::make_unique<Trained>();
  Witness witness(stop_after);
  if (!checkpoints.empty()) training.trainer.resume();
  training.trainer.run(witness, witness.stop);
  result->weights = all_weights(*training.model);
  result->witness.reports = witness.reports;
  result->witness.evaluations = witness.evaluations;
  result->witness.system_calls = witness.system_calls;
  return result;
}

class TrainingInBfloat16 : public testing::Test {
 protected:
  void SetUp() override {
    if (!kernels::has_bfloat16_products()) GTEST_SKIP() << "this processor has no bfloat16 products";
  }
};

TEST_F(TrainingInBfloat16, ReachesTheLossOfFloat32) {
  const auto single = train(train_params(float32_precision, 60)), reduced = train(train_params(bfloat16_precision, 60));
  EXPECT_NE(single->weights, reduced->weights);
  const double first = single->witness.reports.front().loss, last = single->witness.reports.back().loss;
  EXPECT_LT(last, first - 0.3) << "the task is learnt";
  // Products are off by up to 2^-7 of themselves, in either direction: 0.0006 nats of 3 in the first loss. Steps then
  // go on from slightly other weights: 0.0005 nats at the end. Ten and twenty times as much is allowed, which is about
  // what another seed makes.
  EXPECT_NEAR(reduced->witness.reports.front().loss, first, 0.006);
  EXPECT_NEAR(reduced->witness.reports.back().loss, last, 0.01);
  EXPECT_NEAR(reduced->witness.evaluations.back().second.loss, single->witness.evaluations.back().second.loss, 0.01);
}

TEST_F(TrainingInBfloat16, IsTheSameWithAnyNumberOfThreads) {
  const int before = kernels::threads();
  kernels::set_threads(1);
  const auto one = train(train_params(bfloat16_precision, 4));
  kernels::set_threads(3);
  const auto three = train(train_params(bfloat16_precision, 4));
  kernels::set_threads(before);
  EXPECT_EQ(one->weights, three->weights);
}

TEST_F(TrainingInBfloat16, ResumedIsTheSameAsStraight) {
  const TemporaryFolder folder;
  const TrainParams params = train_params(bfloat16_precision, 6);
  train(params, folder / "pieces", 3);
  const auto resumed = train(params, folder / "pieces");
  EXPECT_EQ(resumed->witness.reports.size(), 3U);
  EXPECT_EQ(resumed->weights, train(params)->weights);
}

// Against a loop that rounds every weight anew in each micro-batch.
TEST_F(TrainingInBfloat16, WeightsAreRoundedAfterEveryStep) {
  TrainParams params = train_params(bfloat16_precision, 3);
  params.accumulate = 2;
  const auto kept = train(params);

  SmallTraining fresh(params, {}, {}, wide_model());
  const auto parameters = trained_parameters(*fresh.model, params.parameter_policy());
  const auto optimizer = make_optimizer(params.optimizer, parameters);
  const auto schedule = make_schedule(params.schedule, {params.learning_rate, params.steps, params.tokens_per_step()});
  for (std::int64_t step = 0; step < params.steps; ++step) {
    for (std::int64_t i = 2 * step; i < 2 * step + 2; ++i) {
      const Bfloat16Products products;
      ForwardContext context;
      context.training = true;
      context.seed = 7;
      context.step = static_cast<std::uint64_t>(i);
      Tape tape;
      tape.backward(fresh.objective->forward(i, context).loss);
    }
    const double norm = 0.5 * gradient_norm(parameters);
    const LearningRate rate = schedule->at(step);
    optimizer->step({rate.rate, rate.progress, 0.5 * clip_factor(norm, params.gradient_clip)});
    clear_gradients(parameters);
  }
  EXPECT_EQ(all_weights(*fresh.model), kept->weights);
}

TEST_F(TrainingInBfloat16, AsksForNoMemoryInTheSteadyState) {
  const auto trained = train(train_params(bfloat16_precision, 6));
  for (std::size_t i = 2; i < trained->witness.system_calls.size(); ++i) {
    EXPECT_EQ(trained->witness.system_calls[i], trained->witness.system_calls[1]) << "step " << i + 1;
  }
}

TEST_F(TrainingInBfloat16, EvaluatesInFloat32) {
  SmallTraining training(train_params(bfloat16_precision, 2), {}, {}, wide_model());
  Witness witness;
  training.trainer.run(witness, witness.stop);
  EXPECT_EQ(training.objective->evaluate({}).loss, witness.evaluations.back().second.loss);
}

TEST(Precision, IsFloat32UnlessAskedForAndThere) {
  EXPECT_EQ(TrainParams().precision, "float32");
  EXPECT_EQ(precision_used("float32"), "float32");
  EXPECT_EQ(precision_note("float32"), "");
  const bool is_there = kernels::has_bfloat16_products();
  EXPECT_EQ(precision_used("bfloat16_products"), is_there ? "bfloat16_products" : "float32");
  EXPECT_EQ(precision_note("bfloat16_products").empty(), is_there);
  const PrecisionScope scope("float32");
  EXPECT_EQ(Bfloat16Products::current(), nullptr);
}

}  // namespace
}  // namespace rwkvlab
