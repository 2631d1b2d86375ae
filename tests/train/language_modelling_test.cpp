#include "train/language_modelling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numbers>

#include "base/error.h"
#include "tests/train/small_training.h"

namespace rwkvlab {
namespace {

using test::GeneratedText;
using test::small_model;
using test::small_model_params;
using testing::AllOf;
using testing::HasSubstr;

Tensors gradients_of(Objective& objective, std::int64_t index) {
  Tape tape;
  tape.backward(objective.forward(index, {}).loss);
  Tensors gradients;
  for (Parameter* const p : objective.model().parameters()) {
    gradients.push_back(p->var.grad());
    p->var.clear_grad();
  }
  return gradients;
}

TEST(LanguageModellingTest, OneChunkOverTheWholeSequenceIsFullBackPropagation) {
  const GeneratedText text;
  const auto model = small_model(small_model_params(), DType::f64);
  const ObjectiveSite site = {model.get(), &text, 2, 24};
  const auto plain = make_language_modelling({.carry_state = false}, site);
  const auto carrying = make_language_modelling({.carry_state = true}, site);
  const Tensors expected = gradients_of(*plain, 0), found = gradients_of(*carrying, 0);
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i].to_doubles(), expected[i].to_doubles());
}

TEST(LanguageModellingTest, CarriedStateMakesChunksOneSequence) {
  const GeneratedText text;
  const auto model = small_model(small_model_params(), DType::f64);
  const auto whole = make_language_modelling({}, {model.get(), &text, 2, 24});
  const auto chunks = make_language_modelling({.carry_state = true}, {model.get(), &text, 2, 8});
  const auto restarting = make_language_modelling({}, {model.get(), &text, 2, 8});
  double carried = 0, restarted = 0;
  for (std::int64_t i = 0; i < 3; ++i) {
    carried += chunks->forward(i, {}).loss.value().item() / 3;
    restarted += restarting->forward(i, {}).loss.value().item() / 3;
  }
  const double expected = whole->forward(0, {}).loss.value().item();
  EXPECT_NEAR(carried, expected, 1e-13);  // float64 rounding of sums over 24 tokens
  EXPECT_GT(std::abs(restarted - expected), 1e-6);
}

TEST(LanguageModellingTest, TruncationStopsTheGradientAtTheChunk) {
  const GeneratedText text;
  const auto model = small_model();
  const auto objective = make_language_modelling({.carry_state = true}, {model.get(), &text, 2, 8});
  objective->forward(0, {});
  ASSERT_FALSE(objective->carried_state().empty());
  for (const auto& [name, value] : objective->carried_state().pieces()) EXPECT_FALSE(value.needs_grad()) << name;
}

TEST(LanguageModellingTest, StateIsHandedOutWhenAskedFor) {
  const GeneratedText text;
  const auto model = small_model();
  const auto objective = make_language_modelling({}, {model.get(), &text, 2, 8});
  State left;
  ForwardContext context;
  context.state_out = &left;
  objective->forward(0, context);
  EXPECT_EQ(left.pieces().size(), model->state_pieces().size());
  EXPECT_TRUE(objective->carried_state().empty());
}

TEST(LanguageModellingTest, EvaluationCountsEveryTokenOnce) {
  const GeneratedText text(60);
  const auto model = small_model(small_model_params(), DType::f64);
  const auto objective = make_language_modelling({}, {model.get(), &text, 2, 8});
  const Evaluation evaluation = objective->evaluate({.by_position = true});
  EXPECT_EQ(evaluation.tokens, 59);
  EXPECT_EQ(evaluation.bytes, 59);
  EXPECT_NEAR(evaluation.bits_per_byte, evaluation.loss / std::numbers::ln2, 1e-12);  // one byte per token
  EXPECT_EQ(evaluation.bits_per_character, 0) << "this data knows of none";
  ASSERT_EQ(evaluation.loss_by_position.size(), 8U);
  // Windows start at multiples of 8: positions 0..2 occur 8 times in 59 targets, the others 7 times.
  double sum = 0;
  for (std::size_t i = 0; i < 8; ++i) sum += evaluation.loss_by_position[i] * (i < 3 ? 8 : 7);
  EXPECT_NEAR(sum / 59, evaluation.loss, 1e-12);
  EXPECT_EQ(objective->evaluate({.batches = 1}).tokens, 16);
}

TEST(LanguageModellingTest, CarriedEvaluationEqualsOneLongPass) {
  const GeneratedText text(60);
  const auto model = small_model(small_model_params(), DType::f64);
  const auto objective = make_language_modelling({}, {model.get(), &text, 2, 8});
  const Evaluation whole = objective->evaluate({.batch = 1, .context = 60});
  const Evaluation carried = objective->evaluate({.carry_state = true});
  EXPECT_EQ(carried.tokens, whole.tokens);
  EXPECT_NEAR(carried.loss, whole.loss, 1e-13);  // float64 rounding of sums over 59 tokens
  EXPECT_GT(std::abs(objective->evaluate({}).loss - whole.loss), 1e-6);
  EXPECT_EQ(objective->evaluate({.batches = 2, .carry_state = true}).tokens,
            objective->evaluate({.batches = 2}).tokens);
}

TEST(LanguageModellingTest, EvaluationLeavesTheCarriedState) {
  const GeneratedText text(60);
  const auto model = small_model();
  const auto objective = make_language_modelling({.carry_state = true}, {model.get(), &text, 2, 8});
  objective->forward(0, {});
  const std::vector<double> before = objective->carried_state().pieces()[0].second.value().to_doubles();
  objective->evaluate({.carry_state = true});
  EXPECT_EQ(objective->carried_state().pieces()[0].second.value().to_doubles(), before);
}

TEST(LanguageModellingTest, ImpossibleCombinationsAreRefused) {
  const auto model = small_model();
  const GeneratedText unordered(60, false), without_held_out(0);
  EXPECT_THAT(message_of<ConfigError>([&] {
                make_language_modelling({.carry_state = true}, {model.get(), &unordered, 2, 8});
              }),
              HasSubstr("order: sequential"));
  LanguageModelParams with_head = small_model_params();
  with_head.copy_head = 4;
  const auto headed = small_model(with_head);
  const GeneratedText text;
  EXPECT_THAT(message_of<ConfigError>([&] {
                make_language_modelling({.carry_state = true}, {headed.get(), &text, 2, 8});
              }),
              HasSubstr("copy_head"));
  const auto unallocated = make_language_model(with_head, test::small_vocabulary);
  EXPECT_THROW(make_language_modelling({.carry_state = true}, {unallocated.get(), &text, 2, 8}), ConfigError);
  EXPECT_FALSE(unallocated->parameters()[0]->var.defined());
  LanguageModelParams attending = small_model_params();
  attending.time_mix = make_choice("time_mix", "attention");
  const auto growing = small_model(attending);
  const ObjectiveSite site = {growing.get(), &text, 2, 8};
  EXPECT_THAT(message_of<ConfigError>([&] { make_language_modelling({.carry_state = true}, site); }),
              AllOf(HasSubstr("blocks.0.att.key"), HasSubstr("grows")));
  const auto attentive = make_language_modelling({}, site);
  EXPECT_GT(attentive->evaluate({}).loss, 0);
  EXPECT_THAT(message_of<ConfigError>([&] { attentive->evaluate({.carry_state = true}); }), HasSubstr("grows"));
  const auto objective = make_language_modelling({}, {model.get(), &without_held_out, 2, 8});
  EXPECT_FALSE(objective->can_evaluate());
  EXPECT_THAT(message_of<ConfigError>([&] { objective->evaluate({}); }), HasSubstr("held-out"));
}

}  // namespace
}  // namespace rwkvlab
