#include "train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "config/resolve.h"
#include "config/yaml_reader.h"
#include "kernels/parallel.h"
#include "tests/train/small_training.h"

namespace rwkvlab {
namespace {

using test::small_train_params;
using test::SmallTraining;
using test::Witness;
using testing::HasSubstr;

TEST(TrainerTest, LossFallsAndReportsAreComplete) {
  TrainParams params = small_train_params();
  params.steps = 40;
  params.learning_rate = 2e-2;
  SmallTraining training(params);
  Witness witness;
  EXPECT_EQ(training.trainer.run(witness, witness.stop), TrainingOutcome::finished);
  ASSERT_EQ(witness.reports.size(), 40U);
  EXPECT_LT(witness.reports.back().loss, witness.reports.front().loss - 0.1);
  const StepReport& last = witness.reports.back();
  EXPECT_EQ(last.step, 40);
  EXPECT_EQ(last.tokens, 24);
  EXPECT_EQ(last.tokens_seen, 40 * 24);
  EXPECT_NEAR(last.learning_rate, 1e-5, 1e-12);
  EXPECT_GT(last.gradient_norm, 0);
  ASSERT_EQ(witness.evaluations.size(), 1U);
  EXPECT_EQ(witness.evaluations[0].first, 40);
  EXPECT_TRUE(training.trainer.last_evaluation().has_value());
}

// A text whose big batch is what the small one gives in two parts.
class HalvedText final : public TokenDataSet {
 public:
  const Tokenizer& tokenizer() const override { return text_.tokenizer(); }
  Batch training_batch(std::int64_t step, std::int64_t rows, std::int64_t context) const override {
    const Batch whole = text_.training_batch(step / 2, 2 * rows, context);
    const std::int64_t first = step % 2 * rows;
    Batch half;
    half.tokens = whole.tokens.rows(first, first + rows);
    half.targets = whole.targets.rows(first, first + rows);
    return half;
  }
  std::int64_t training_tokens() const override { return text_.training_tokens(); }
  std::int64_t held_out_batches(std::int64_t, std::int64_t, std::int64_t) const override { return 0; }
  Batch held_out_batch(std::int64_t, std::int64_t, std::int64_t) const override { return {}; }
  double bytes_per_token() const override { return 1; }
  std::string describe() const override { return "halves"; }

 private:
  test::GeneratedText text_;
};

TEST(TrainerTest, AccumulationEqualsOneLargeBatch) {
  TrainParams large = small_train_params(), small = small_train_params();
  large.batch = 4;
  small.batch = 2;
  small.accumulate = 2;
  const auto train = [](const TrainParams& params, const TokenDataSet& data) {
    const auto model = test::small_model(test::small_model_params(), DType::f64);
    // A large factor, so that a wrongly scaled L2Wrap would show.
    const auto objective = make_language_modelling({.l2wrap = 0.1}, {model.get(), &data, params.batch, params.context});
    Trainer trainer(params, {}, {objective.get(), 7, {}, {}});
    Witness witness;
    trainer.run(witness, witness.stop);
    EXPECT_EQ(witness.reports.back().tokens, 48);
    std::vector<double> result = test::all_weights(*model);
    result.push_back(witness.reports.back().loss);
    result.push_back(witness.reports.back().gradient_norm);
    return result;
  };
  const std::vector<double> expected = train(large, test::GeneratedText()), found = train(small, HalvedText());
  // Float64 rounding, but Adam's division by the root of small squares magnifies it where gradients nearly vanish.
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(found[i], expected[i], 1e-9) << i;
}

struct FinalFiles {
  std::string weights, moments, carried;
};

FinalFiles files_of(const std::filesystem::path& checkpoint) {
  FinalFiles files = {read_text(checkpoint / "model.safetensors"), read_text(checkpoint / "optimizer.safetensors"), ""};
  if (std::filesystem::exists(checkpoint / "carried_state.safetensors")) {
    files.carried = read_text(checkpoint / "carried_state.safetensors");
  }
  return files;
}

struct ResumeCase {
  std::string name;
  bool carry_state;
  double dropout;
  int accumulate;
};

class ResumeTest : public testing::TestWithParam<ResumeCase> {};

TEST_P(ResumeTest, InterruptedAndResumedGivesTheSameBytes) {
  TrainParams params = small_train_params();
  params.accumulate = GetParam().accumulate;
  LanguageModelParams model = test::small_model_params();
  model.dropout = GetParam().dropout;
  const LanguageModellingParams objective = {.carry_state = GetParam().carry_state};
  const TemporaryFolder straight_folder, folder;

  SmallTraining straight(params, straight_folder.path(), objective, model);
  Witness all;
  EXPECT_EQ(straight.trainer.run(all, all.stop), TrainingOutcome::finished);

  std::vector<double> losses;
  for (const std::int64_t stop_after : {3, 4, -1}) {
    SmallTraining part(params, folder.path(), objective, model);
    EXPECT_EQ(part.trainer.resume(), stop_after != 3);
    Witness witness(stop_after);
    EXPECT_EQ(part.trainer.run(witness, witness.stop),
              stop_after > 0 ? TrainingOutcome::interrupted : TrainingOutcome::finished);
    for (const StepReport& report : witness.reports) losses.push_back(report.loss);
  }
  ASSERT_EQ(losses.size(), all.reports.size());
  for (std::size_t i = 0; i < losses.size(); ++i) EXPECT_EQ(losses[i], all.reports[i].loss) << i;
  const FinalFiles expected = files_of(straight_folder / "step-00000008"), found = files_of(folder / "step-00000008");
  EXPECT_TRUE(found.weights == expected.weights);
  EXPECT_TRUE(found.moments == expected.moments);
  EXPECT_TRUE(found.carried == expected.carried);
  EXPECT_EQ(expected.carried.empty(), !GetParam().carry_state);
}

INSTANTIATE_TEST_SUITE_P(Ways, ResumeTest,
                         testing::Values(ResumeCase{"plain", false, 0, 1}, ResumeCase{"dropout", false, 0.2, 1},
                                         ResumeCase{"carried", true, 0, 1},
                                         ResumeCase{"carried_accumulated_dropout", true, 0.2, 3}),
                         [](const auto& way) { return way.param.name; });

TEST(TrainerTest, InterruptionWritesACheckpointAndKeepsTheEvaluationForLater) {
  const TemporaryFolder folder;
  EvaluationParams evaluation;
  evaluation.every = 2;
  {
    SmallTraining training(small_train_params(), folder.path(), {}, test::small_model_params(), evaluation);
    Witness witness(4);
    EXPECT_EQ(training.trainer.run(witness, witness.stop), TrainingOutcome::interrupted);
    ASSERT_EQ(witness.checkpoints.size(), 1U);
    EXPECT_EQ(witness.checkpoints[0].second, folder / "step-00000004");
    ASSERT_EQ(witness.evaluations.size(), 1U);
  }
  SmallTraining training(small_train_params(), folder.path(), {}, test::small_model_params(), evaluation);
  ASSERT_TRUE(training.trainer.resume());
  Witness witness;
  EXPECT_EQ(training.trainer.run(witness, witness.stop), TrainingOutcome::finished);
  ASSERT_EQ(witness.evaluations.size(), 3U);
  EXPECT_EQ(witness.evaluations[0].first, 4);
  EXPECT_EQ(witness.evaluations[2].first, 8);

  // A finished training has nothing left to do.
  SmallTraining again(small_train_params(), folder.path(), {}, test::small_model_params(), evaluation);
  ASSERT_TRUE(again.trainer.resume());
  Witness idle;
  EXPECT_EQ(again.trainer.run(idle, idle.stop), TrainingOutcome::finished);
  EXPECT_TRUE(idle.reports.empty() && idle.evaluations.empty() && idle.checkpoints.empty());
}

TEST(TrainerTest, AStopBeforeTheFirstStepDoesNothing) {
  const TemporaryFolder folder;
  SmallTraining training(small_train_params(), folder / "checkpoints");
  Witness witness;
  witness.stop = true;
  EXPECT_EQ(training.trainer.run(witness, witness.stop), TrainingOutcome::interrupted);
  EXPECT_TRUE(witness.reports.empty());
  EXPECT_FALSE(std::filesystem::exists(folder / "checkpoints"));
}

// Breaks the model after a step.
class Saboteur : public Witness {
 public:
  Saboteur(Module& model, std::string name, std::int64_t after)
      : model_(model), name_(std::move(name)), after_(after) {}
  void step_finished(const StepReport& report, const Module& model) override {
    Witness::step_finished(report, model);
    if (report.step != after_) return;
    for (Parameter* const p : model_.parameters()) {
      if (p->name == name_) p->var.value().data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
    }
  }

 private:
  Module& model_;
  std::string name_;
  std::int64_t after_;
};

TEST(DivergenceTest, NamesTheStepTheFirstModuleAndTheLastGoodCheckpoint) {
  const TemporaryFolder folder;
  TrainParams params = small_train_params();
  params.checkpoint_every = 2;
  SmallTraining training(params, folder.path(), {.carry_state = true});
  Saboteur saboteur(*training.model, "blocks.1.att.value.weight", 5);
  const std::string message = message_of<NonFiniteError>([&] { training.trainer.run(saboteur, saboteur.stop); });
  EXPECT_THAT(message, HasSubstr("step 6"));
  EXPECT_THAT(message, HasSubstr("the loss is nan"));
  EXPECT_THAT(message, HasSubstr("first value that is not finite is 'blocks.1.att.value.output'"));
  EXPECT_THAT(message, HasSubstr("parameter 'blocks.1.att.value.weight' is not finite"));
  EXPECT_THAT(message, HasSubstr((folder / "step-00000004").string()));
  EXPECT_EQ(saboteur.diverged_at, 6);
  EXPECT_EQ(training.trainer.position().step, 5);
  EXPECT_TRUE(std::filesystem::exists(folder / "step-00000004"));
}

TEST(DivergenceTest, ABadModelIsNeverSaved) {
  const TemporaryFolder folder;
  TrainParams params = small_train_params();
  params.checkpoint_every = 2;
  params.keep_checkpoints = 1;
  SmallTraining training(params, folder.path());
  Saboteur saboteur(*training.model, "head.weight", 4);
  EXPECT_THAT(message_of<NonFiniteError>([&] { training.trainer.run(saboteur, saboteur.stop); }),
              testing::AllOf(HasSubstr("'head.weight'"), HasSubstr("was not saved")));
  EXPECT_EQ(CheckpointFolder(folder.path(), 0).list(), std::vector{folder / "step-00000002"});
}

TEST(DivergenceTest, ANonFiniteHeldOutLossStops) {
  SmallTraining training;
  Saboteur saboteur(*training.model, "head.weight", 8);
  EXPECT_THAT(message_of<NonFiniteError>([&] { training.trainer.run(saboteur, saboteur.stop); }),
              HasSubstr("held-out loss is nan"));
}

TEST(DivergenceTest, AnEnormousLearningRateIsCaught) {
  TrainParams params = small_train_params();
  params.learning_rate = 1e30;
  SmallTraining training(params);
  Witness witness;
  EXPECT_THAT(message_of<NonFiniteError>([&] { training.trainer.run(witness, witness.stop); }),
              HasSubstr("no checkpoint had been written"));
}

// Identity whose gradient is infinite: a forward pass that looks healthy.
class InfiniteGradient final : public Op {
 public:
  std::string_view name() const override { return "infinite_gradient"; }
  Tensors forward(const Tensors& inputs) override { return {inputs[0].clone()}; }
  Tensors backward(const Tensors& grads) override {
    return {Tensor::full(grads[0].shape(), std::numeric_limits<double>::infinity(), grads[0].dtype())};
  }
};

class BadGradientObjective final : public Objective {
 public:
  class OneWeight : public Module {
   public:
    OneWeight() {
      parameter("weight", {}, initialise::constant(1));
      set_path("only");
      allocate(1);
    }
  };
  Module& model() override { return model_; }
  StepResult forward(std::int64_t, const ForwardContext&) override {
    return {run_op_one<InfiniteGradient>({model_.parameters()[0]->var})};
  }
  const State& carried_state() const override { return state_; }
  void set_carried_state(State) override {}
  Evaluation evaluate(const EvaluationRequest&) override { return {}; }
  bool can_evaluate() const override { return false; }

 private:
  OneWeight model_;
  State state_;
};

TEST(DivergenceTest, AGradientThatOverflowsIsNamedAndNotApplied) {
  BadGradientObjective objective;
  Trainer trainer(small_train_params(), {}, {&objective, 1, {}, {}});
  Witness witness;
  const std::string message = message_of<NonFiniteError>([&] { trainer.run(witness, witness.stop); });
  EXPECT_THAT(message, HasSubstr("the gradient norm is inf"));
  EXPECT_THAT(message, HasSubstr("gradient of 'only.weight'"));
  EXPECT_EQ(objective.model().parameters()[0]->var.value().item(), 1);
}

TEST(TrainerTest, ASteadyStateAsksTheSystemForNoMemory) {
  for (const bool carry_state : {false, true}) {
    TrainParams params = small_train_params();
    params.accumulate = 2;
    SmallTraining training(params, {}, {.carry_state = carry_state});
    Witness witness;
    training.trainer.run(witness, witness.stop);
    // The second step is the first one that starts from a carried state; from the third on nothing is new.
    for (std::size_t i = 2; i < witness.system_calls.size(); ++i) {
      EXPECT_EQ(witness.system_calls[i], witness.system_calls[1]) << "step " << i + 1;
    }
  }
}

TEST(TrainerTest, TheThreadCountDoesNotChangeABit) {
  const int before = kernels::threads();
  std::vector<std::vector<double>> results;
  for (const int threads : {1, 2, 5}) {
    kernels::set_threads(threads);
    TrainParams params = small_train_params();
    params.steps = 3;
    params.context = 96;
    LanguageModelParams model = test::small_model_params();
    model.width = 64;
    SmallTraining training(params, {}, {}, model);
    Witness witness;
    training.trainer.run(witness, witness.stop);
    results.push_back(test::all_weights(*training.model));
    results.back().push_back(witness.evaluations.at(0).second.loss);
  }
  kernels::set_threads(before);
  EXPECT_TRUE(results[1] == results[0]);
  EXPECT_TRUE(results[2] == results[0]);
}

class Listener : public Witness, public ProbeSink {
 public:
  ProbeSink* probes_for(std::int64_t step) override { return step == 2 ? this : nullptr; }
  bool wants_state(std::int64_t step) override { return step == 3; }
  void state_at(std::int64_t step, const State& state) override { states.emplace_back(step, state.pieces().size()); }
  void probe(const std::string& path, const Var&, std::string_view) override {
    paths.push_back(path);
    probed_after.push_back(static_cast<std::int64_t>(reports.size()));
  }
  std::vector<std::string> paths;
  std::vector<std::int64_t> probed_after;
  std::vector<std::pair<std::int64_t, std::size_t>> states;
};

TEST(TrainerTest, ProbesAndStatesArriveAtTheStepsThatAskForThem) {
  TrainParams params = small_train_params();
  params.accumulate = 2;
  SmallTraining training(params);
  Listener listener;
  training.trainer.run(listener, listener.stop);
  EXPECT_EQ(std::count(listener.paths.begin(), listener.paths.end(), "blocks.1.output"), 1);
  EXPECT_EQ(std::count(listener.probed_after.begin(), listener.probed_after.end(), 1),
            static_cast<std::ptrdiff_t>(listener.paths.size()));
  ASSERT_EQ(listener.states.size(), 1U);
  EXPECT_EQ(listener.states[0], (std::pair<std::int64_t, std::size_t>(3, training.model->state_pieces().size())));
}

TEST(TrainParamsTest, YamlBecomesParameters) {
  const Schema schema = make_schema<TrainParams>([](Fields<TrainParams>& f) { describe(f); });
  const TrainParams params = bind<TrainParams>(parse_yaml(R"(
steps: 50
schedule: {kind: linear, warmup_steps: 5}
optimizer: {kind: adamw, weight_decay: 0.1}
objective: {kind: language_modelling, carry_state: true}
parameter_groups: [{match: "*.time_decay", learning_rate_scale: 2, freeze: true}]
)",
                                                          "test.yaml"),
                                               schema);
  EXPECT_EQ(params.steps, 50);
  EXPECT_EQ(params.schedule.kind, "linear");
  EXPECT_EQ(params.optimizer.as<AdamWParams>().weight_decay, 0.1);
  EXPECT_TRUE(params.objective.as<LanguageModellingParams>().carry_state);
  ASSERT_EQ(params.parameter_groups.size(), 1U);
  EXPECT_FALSE(params.parameter_groups[0].weight_decay.has_value());
  EXPECT_THAT(message_of<ConfigError>([&] { bind<TrainParams>(parse_yaml("{stepz: 5, batch: 0}", "a.yaml"), schema); }),
              testing::AllOf(HasSubstr("stepz"), HasSubstr("batch")));
  const Schema eval = make_schema<EvaluationParams>([](Fields<EvaluationParams>& f) { describe(f); });
  EXPECT_TRUE(bind<EvaluationParams>(parse_yaml("{every: 5, carry_state: true}", "a.yaml"), eval).carry_state);
}

}  // namespace
}  // namespace rwkvlab
