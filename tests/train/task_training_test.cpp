// Training on a generated task: accuracy, sets, and the end of a training that has learnt enough.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "config/yaml_reader.h"
#include "tests/train/small_training.h"
#include "train/evaluation_sums.h"

namespace rwkvlab {
namespace {

using testing::HasSubstr;

std::unique_ptr<TokenDataSet> task(const std::string& kind, const std::string& yaml) {
  return build_token_data(make_choice(data_slot, kind, parse_yaml(yaml, "test.yaml")), DataSite{"", 1});
}

Tensor integers(const Shape& shape, const std::vector<std::int64_t>& values) {
  Tensor tensor = Tensor::empty(shape, DType::i64);
  std::copy(values.begin(), values.end(), tensor.data<std::int64_t>());
  return tensor;
}

// Logits of three words, the largest at `guess`.
Tensor guesses(const Shape& shape, const std::vector<std::int64_t>& guess) {
  Tensor logits = Tensor::empty({shape[0], shape[1], 3}, DType::f64);
  std::fill_n(logits.data<double>(), logits.elements(), 0.0);
  for (std::size_t i = 0; i < guess.size(); ++i) logits.data<double>()[3 * i + static_cast<std::size_t>(guess[i])] = 1;
  return logits;
}

TEST(EvaluationSumsTest, AccuracyIsTheMeanOfTheRowsShares) {
  EvaluationSums sums(true);
  const auto add = [&](const Shape& shape, const std::vector<std::int64_t>& targets,
                       const std::vector<std::int64_t>& guess, const std::string& set) {
    Batch batch;
    batch.tokens = batch.targets = integers(shape, targets);
    batch.evaluation_set = set;
    const Tensor logits = guesses(shape, guess);
    sums.add(cross_entropy(Var(logits), batch.targets), logits, batch);
  };
  // Row shares: 1 of 1, 1 of 3; then 1 of 2, and a row without targets.
  add({2, 3}, {-1, 2, -1, 0, 1, 2}, {1, 2, 0, 0, 0, 0}, "a");
  add({2, 4}, {-1, 1, -1, 2, -1, -1, -1, -1}, {0, 1, 0, 1, 0, 0, 0, 0}, "b");
  const Evaluation evaluation = sums.result();
  EXPECT_EQ(evaluation.tokens, 6);
  ASSERT_TRUE(evaluation.accuracy.has_value());
  EXPECT_NEAR(*evaluation.accuracy, (1 + 1.0 / 3 + 0.5) / 3, 1e-15);
  const double right = std::log(std::exp(1.0) + 2) - 1, wrong = right + 1;
  EXPECT_NEAR(evaluation.loss, (3 * right + 3 * wrong) / 6, 1e-15);
  ASSERT_EQ(evaluation.sets.size(), 2u);
  EXPECT_EQ(evaluation.sets[0].name, "a");
  EXPECT_NEAR(evaluation.sets[0].accuracy, 2.0 / 3, 1e-15);
  EXPECT_NEAR(evaluation.sets[0].loss, (2 * right + 2 * wrong) / 4, 1e-15);
  EXPECT_EQ(evaluation.sets[1].tokens, 2);
  EXPECT_EQ(evaluation.sets[1].accuracy, 0.5);
  // Position 0: the 0 of the second row alone; 1: 2 and 1 of 3 are right; 2 and 3: wrong.
  EXPECT_EQ(evaluation.accuracy_by_position.size(), 4u);
  EXPECT_EQ(evaluation.accuracy_by_position[0], 1);
  EXPECT_NEAR(evaluation.accuracy_by_position[1], 2.0 / 3, 1e-15);
  EXPECT_EQ(evaluation.accuracy_by_position[3], 0);
  EXPECT_NEAR(evaluation.loss_by_position[2], wrong, 1e-15);
}

// Few targets count here, so only their logits are computed; the sums must be those of all logits.
TEST(EvaluationSumsTest, LogitsOfTheTargetsAloneGiveTheSame) {
  const auto data = task("associative_recall",
                         "{vocabulary_size: 20, eval: [{length: 16, pairs: 2, examples: 5}], train: [{length: 16, "
                         "pairs: 2, examples: 5}]}");
  LanguageModelParams params = test::small_model_params();
  params.vocabulary_size = 20;
  const auto model = test::small_model(params, DType::f64);
  const auto objective = make_language_modelling({.l2wrap = 0}, {model.get(), data.get(), 3, 16});
  const Evaluation found = objective->evaluate({.by_position = true});
  EvaluationSums sums(true);
  for (std::int64_t i = 0; i < 2; ++i) {
    const Batch batch = data->held_out_batch(i, 3, 16);
    EXPECT_LT(model->target_logits(batch.tokens, batch.targets, {}).logits.shape().rows(), batch.targets.elements());
    const Var logits = model->logits(batch.tokens, {});
    sums.add(cross_entropy(logits, batch.targets), logits.value(), batch);
  }
  const Evaluation expected = sums.result();
  EXPECT_EQ(found.tokens, 10);
  EXPECT_NEAR(found.loss, expected.loss, 1e-13);  // float64 rounding of sums over 10 tokens
  EXPECT_EQ(found.accuracy, expected.accuracy);
  ASSERT_EQ(found.loss_by_position.size(), expected.loss_by_position.size());
  for (std::size_t t = 0; t < found.loss_by_position.size(); ++t) {
    EXPECT_EQ(std::isnan(found.loss_by_position[t]), std::isnan(expected.loss_by_position[t])) << t;
    if (!std::isnan(found.loss_by_position[t])) {
      EXPECT_NEAR(found.loss_by_position[t], expected.loss_by_position[t], 1e-13) << t;
    }
  }
}

TEST(EvaluationSumsTest, APositionThatNeverCountsIsNoZero) {
  EvaluationSums sums(true);
  Batch batch;
  batch.tokens = batch.targets = integers({1, 2}, {-1, 1});
  const Tensor logits = guesses({1, 2}, {0, 1});
  sums.add(cross_entropy(Var(logits), batch.targets), logits, batch);
  EXPECT_TRUE(std::isnan(sums.result().loss_by_position[0]));
  EXPECT_TRUE(std::isnan(sums.result().accuracy_by_position[0]));
  EXPECT_TRUE(sums.result().sets.empty());
}

struct TaskTraining {
  explicit TaskTraining(const EvaluationParams& evaluation, const std::filesystem::path& checkpoints = {})
      : data(task(
            "copying",
            "{symbols: 2, order: fresh, train: [{count: 1}], eval: [{count: 1, examples: 40}, {count: 1, delay: 1, "
            "examples: 40}]}")),
        model(make_model()),
        objective(make_language_modelling({.l2wrap = 0}, {model.get(), data.get(), 8, 2})),
        trainer(params(), evaluation, {objective.get(), 1, checkpoints, {"", ""}}) {}

  static TrainParams params() {
    TrainParams params = test::small_train_params();
    params.steps = 400;
    params.batch = 8;
    params.context = 2;
    params.learning_rate = 1e-2;
    return params;
  }
  static std::unique_ptr<LanguageModel> make_model() {
    auto model = make_language_model(test::small_model_params(), 4);
    model->allocate(3);
    return model;
  }

  std::unique_ptr<TokenDataSet> data;
  std::unique_ptr<LanguageModel> model;
  std::unique_ptr<Objective> objective;
  Trainer trainer;
};

EvaluationParams until(double accuracy) {
  EvaluationParams evaluation;
  evaluation.every = 20;
  evaluation.stop_accuracy = accuracy;
  return evaluation;
}

TEST(TaskTrainingTest, EndsWhenTheAccuracyIsReachedAndStaysEnded) {
  const TemporaryFolder folder;
  std::int64_t ended_at = 0;
  {
    TaskTraining training(until(0.7), folder.path());
    test::Witness witness;
    EXPECT_EQ(training.trainer.run(witness, witness.stop), TrainingOutcome::finished);
    ended_at = training.trainer.position().step;
    EXPECT_LT(ended_at, 400) << "one symbol is copied quickly";
    EXPECT_EQ(ended_at % 20, 0);
    const Evaluation& last = witness.evaluations.back().second;
    EXPECT_GT(*last.accuracy, 0.7);
    ASSERT_EQ(last.sets.size(), 2u);
    EXPECT_NEAR(*last.accuracy, (last.sets[0].accuracy + last.sets[1].accuracy) / 2, 1e-12);
    for (std::size_t i = 0; i + 1 < witness.evaluations.size(); ++i) {
      EXPECT_LE(*witness.evaluations[i].second.accuracy, 0.7);
    }
    EXPECT_EQ(witness.checkpoints.back().first, ended_at);
  }
  TaskTraining again(until(0.7), folder.path());
  ASSERT_TRUE(again.trainer.resume());
  test::Witness witness;
  EXPECT_EQ(again.trainer.run(witness, witness.stop), TrainingOutcome::finished);
  EXPECT_TRUE(witness.reports.empty());
  EXPECT_EQ(again.trainer.position().step, ended_at);
}

TEST(TaskTrainingTest, TokensOfAStepAreAllThatItReads) {
  TaskTraining training(until(0));
  test::Witness witness;
  training.trainer.run(witness, witness.stop);
  ASSERT_FALSE(witness.reports.empty());
  EXPECT_EQ(witness.reports.front().tokens, 16) << "8 rows of 2 tokens, one of which has a target";
}

TEST(TaskTrainingTest, NoStatePassesBetweenExamples) {
  TaskTraining training(until(1));
  EvaluationRequest request;
  request.carry_state = true;
  EXPECT_THAT(message_of<ConfigError>([&] { training.objective->evaluate(request); }), HasSubstr("eval.carry_state"));
  EXPECT_THROW(make_language_modelling({.carry_state = true}, {training.model.get(), training.data.get(), 8, 2}),
               ConfigError);
}

TEST(TaskTrainingTest, EvaluationSetsMayBeLongerThanTheContext) {
  TaskTraining training(until(1));
  const Evaluation evaluation = training.objective->evaluate({.batch = 16, .by_position = true});
  EXPECT_EQ(evaluation.tokens, 80);
  ASSERT_EQ(evaluation.accuracy_by_position.size(), 3u);
  EXPECT_TRUE(std::isnan(evaluation.accuracy_by_position[0]));
}

}  // namespace
}  // namespace rwkvlab
