// Fine-tuning: which parameters move, gradients of adapters, checkpoints that hold them alone, and the state that
// sequences start from.
#include "train/tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "config/yaml_reader.h"
#include "models/initial_state.h"
#include "models/weight_format.h"
#include "tests/train/small_training.h"

namespace rwkvlab {
namespace {

using test::all_weights;
using test::small_model;
using test::SmallTraining;
using testing::AllOf;
using testing::HasSubstr;

Choice tuning(const std::string& kind, const std::string& params = "{}") {
  return make_choice("tune", kind, parse_yaml(params, "test"));
}

TrainParams tuned(const std::string& kind, const std::string& params = "{}") {
  TrainParams train = test::small_train_params();
  train.tune = tuning(kind, params);
  return train;
}

const char* const attention_alone = "{rank: 2, alpha: 6, matrices: ['blocks.*.att.*.weight'], also: ['ln_out.*']}";

std::map<std::string, std::vector<double>> weights_by_name(const Module& model) {
  std::map<std::string, std::vector<double>> result;
  for (const Parameter* const p : model.parameters()) result[p->name] = p->var.value().to_doubles();
  return result;
}

LanguageModelParams with_learned_state(const std::string& kind = "rwkv4") {
  LanguageModelParams params = test::small_model_params();
  params.time_mix = make_choice("time_mix", kind, parse_yaml(kind == "rwkv4" ? "{}" : "{head_size: 8}", "test"));
  params.learned_state = true;
  return params;
}

// The loss of a batch, with its gradients in the leaves.
double loss_of(LanguageModel& model, bool backward) {
  const Batch batch = test::GeneratedText().training_batch(0, 2, 12);
  Tape tape;
  const CrossEntropyLoss result = model.loss(batch.tokens, batch.targets, 0, {});
  const double loss = result.loss.value().item();
  if (backward) tape.backward(result.loss);
  return loss;
}

TEST(LowRankTuning, GradientsOfAdaptersAgreeWithFiniteDifferences) {
  const auto model = small_model(test::small_model_params(), DType::f64);
  const auto tuning_of = make_tuning(tuning("lora", attention_alone), {model.get(), {}, 3});
  // B = 0 would hide the gradient of A.
  for (const NamedTensor& tensor : tuning_of->tensors()) {
    if (!tensor.name.ends_with(".lora_B")) continue;
    double value = 0.02;
    for (double& element : tensor.tensor.span<double>()) element = value = -0.9 * value + 0.001;
  }
  tuning_of->update();
  loss_of(*model, true);
  tuning_of->collect_gradients();
  int checked = 0;
  for (const TrainedParameter& entry : tuning_of->parameters()) {
    const std::vector<double> gradient = entry.parameter->var.grad().to_doubles();
    const std::span<double> values = entry.parameter->var.value().span<double>();
    for (std::size_t i = 0; i < values.size(); i += 7, ++checked) {
      constexpr double step = 1e-5;
      const double value = values[i];
      const auto loss_at = [&](double at) {
        values[i] = at;
        tuning_of->update();
        return loss_of(*model, false);
      };
      const double difference = (loss_at(value + step) - loss_at(value - step)) / (2 * step);
      loss_at(value);
      // Central differences in float64: step² of truncation, 1e-16 / step of rounding.
      EXPECT_NEAR(gradient[i], difference, 1e-8 + 1e-6 * std::fabs(difference)) << entry.parameter->name << " " << i;
    }
  }
  EXPECT_GT(checked, 50);
}

TEST(LowRankTuning, OnlyAdaptersAndWhatIsNamedMove) {
  TrainParams train = tuned("lora", attention_alone);
  train.steps = 30;
  train.learning_rate = 0.02;
  SmallTraining training(train);
  const auto before = weights_by_name(*training.model);
  const double loss = training.objective->evaluate({}).loss;
  test::Witness witness;
  training.trainer.run(witness, witness.stop);
  EXPECT_LT(training.objective->evaluate({}).loss, loss);
  for (const auto& [name, values] : weights_by_name(*training.model)) {
    const bool moves =
        (name.find(".att.") != std::string::npos && name.ends_with(".weight")) || name.starts_with("ln_out.");
    EXPECT_EQ(values != before.at(name), moves) << name;
  }
}

TEST(LowRankTuning, StartsAsTheModelAndFreezesTheRest) {
  const auto model = small_model();
  const std::vector<double> before = all_weights(*model);
  const auto tuning_of = make_tuning(tuning("lora", attention_alone), {model.get(), {}, 3});
  tuning_of->update();
  EXPECT_EQ(all_weights(*model), before);
  std::set<std::string> names;
  for (const TrainedParameter& entry : tuning_of->parameters()) names.insert(entry.parameter->name);
  EXPECT_TRUE(names.contains("blocks.1.att.key.weight.lora_A"));
  EXPECT_TRUE(names.contains("ln_out.bias"));
  EXPECT_EQ(names.size(), 2 * 2 * 4 + 2U);
  loss_of(*model, true);
  for (const Parameter* const p : tuning_of->frozen()) EXPECT_FALSE(p->var.grad().defined()) << p->name;
}

TEST(LowRankTuning, MicroBatchesAddUp) {
  const auto model = small_model();
  const auto tuning_of = make_tuning(tuning("lora", attention_alone), {model.get(), {}, 3});
  const auto gradients = [&](int batches) {
    clear_gradients(tuning_of->parameters());
    for (int i = 0; i < batches; ++i) loss_of(*model, true);
    tuning_of->collect_gradients();
    return gradient_norm(tuning_of->parameters());
  };
  const double once = gradients(1);
  EXPECT_GT(once, 0);
  EXPECT_DOUBLE_EQ(gradients(2), 2 * once);  // The same batch twice: exact in binary.
}

TEST(LowRankTuning, PatternsThatDoNotFitAreNamed) {
  const auto model = small_model();
  const auto message = [&](const std::string& params) {
    return message_of<ConfigError>([&] { make_tuning(tuning("lora", params), {model.get(), {}, 3}); });
  };
  EXPECT_THAT(message("{matrices: [blocks.0.att.keys.weight]}"),
              AllOf(HasSubstr("train.tune.matrices"), HasSubstr("blocks.0.att.key.weight")));
  EXPECT_THAT(message("{also: [ln_aut.weight]}"), AllOf(HasSubstr("train.tune.also"), HasSubstr("ln_out.weight")));
  EXPECT_THAT(message("{matrices: ['*.time_decay']}"), HasSubstr("matches no matrix"));
  EXPECT_THAT(message("{rank: 4, matrices: ['*.key.weight'], also: ['*.att.key.*']}"), HasSubstr("name it once"));
  EXPECT_THAT(message("{rank: 17, matrices: ['*.key.weight']}"), HasSubstr("rank is 17"));
  TrainParams frozen = tuned("lora", attention_alone);
  EXPECT_THAT(message_of<ConfigError>([&] {
                make_tuning(frozen.tune, {model.get(), {true, false, {{"blocks.*", {}, {}, true}}}, 3});
              }),
              HasSubstr("freeze every matrix"));
}

class Resumed : public testing::TestWithParam<const char*> {};

TEST_P(Resumed, GoesOnBitForBitFromAdaptersAlone) {
  const bool is_state = std::string(GetParam()) == "state";
  TrainParams train = tuned(GetParam(), is_state ? "{}" : attention_alone);
  const LanguageModelParams params = is_state ? with_learned_state() : test::small_model_params();
  const TemporaryFolder folder;
  SmallTraining straight(train, {}, {}, params);
  test::Witness whole;
  straight.trainer.run(whole, whole.stop);

  SmallTraining first(train, folder.path(), {}, params);
  test::Witness half(4);
  first.trainer.run(half, half.stop);
  const SafetensorsFile stored(weights_file(folder.path()));
  EXPECT_FALSE(stored.contains("head.weight"));
  EXPECT_TRUE(holds_tuning_alone(stored));
  EXPECT_THAT(message_of<DataError>([&] { load_weights(*first.model, stored); }), HasSubstr("export"));

  SmallTraining second(train, folder.path(), {}, params);
  ASSERT_TRUE(second.trainer.resume());
  test::Witness rest;
  second.trainer.run(rest, rest.stop);
  EXPECT_EQ(all_weights(*second.model), all_weights(*straight.model));

  // Another base is noticed.
  SmallTraining other(train, folder.path(), {}, params);
  other.model->parameters().back()->var.value().span<float>()[0] += 1;
  EXPECT_THAT(message_of<DataError>([&] {
                make_tuning(train.tune, {other.model.get(), {}, 7})->load(stored);
              }),
              HasSubstr("other weights"));
}

INSTANTIATE_TEST_SUITE_P(Tuning, Resumed, testing::Values("lora", "state"));

class StateTuned : public testing::TestWithParam<const char*> {};

TEST_P(StateTuned, OnlyTheStartMovesAndTheLossFalls) {
  TrainParams train = tuned("state");
  train.steps = 30;
  train.learning_rate = 0.01;
  SmallTraining training(train, {}, {}, with_learned_state(GetParam()));
  for (Parameter* const p : training.model->parameters()) {
    if (p->name.ends_with(".initial")) p->var.value().fill(0);
  }
  const auto before = weights_by_name(*training.model);
  const double loss = training.objective->evaluate({}).loss;
  test::Witness witness;
  training.trainer.run(witness, witness.stop);
  std::size_t moved = 0;
  for (const auto& [name, values] : weights_by_name(*training.model)) {
    const bool changed = values != before.at(name);
    moved += changed ? 1 : 0;
    EXPECT_FALSE(changed && !name.ends_with(".initial")) << name;
  }
  EXPECT_EQ(moved, training.trainer.optimizer().state().size() / 2) << "every piece of the state moves";
  EXPECT_LT(training.objective->evaluate({}).loss, loss);
}

INSTANTIATE_TEST_SUITE_P(Generations, StateTuned, testing::Values("rwkv4", "rwkv5", "rwkv6", "rwkv7"));

TEST(StateTuning, ALearnedStateStartsAsTheEmptyOne) {
  LanguageModelParams params = test::small_model_params();
  const auto plain = make_language_model(params, test::small_vocabulary);
  params.learned_state = true;
  const auto learned = make_language_model(params, test::small_vocabulary);
  plain->allocate(3);
  learned->allocate(3);
  const Tensor tokens = test::GeneratedText().training_batch(0, 2, 12).tokens;
  const std::vector<double> a = plain->logits(tokens, {}).value().to_doubles();
  const std::vector<double> b = learned->logits(tokens, {}).value().to_doubles();
  // The exponent of RWKV-4's empty state is 0 in place of -1e38: sums are scaled in another way and rounded so.
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5);
}

TEST(StateTuning, NeedsAStateThatIsLearned) {
  const auto model = small_model();
  EXPECT_THAT(message_of<ConfigError>([&] {
                make_tuning(tuning("state"), {model.get(), {}, 3});
              }),
              HasSubstr("model.learned_state: true"));
  LanguageModelParams params = with_learned_state();
  params.copy_head = 4;
  EXPECT_THAT(message_of<ConfigError>([&] { make_language_model(params, test::small_vocabulary); }),
              HasSubstr("copy_head"));
}

}  // namespace
}  // namespace rwkvlab
