// What is particular to attention, its alternatives and the channel mixes of Transformers.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "tests/blocks/variants.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

std::unique_ptr<Mixer> build(const std::string& slot, const std::string& kind, const std::string& parameters,
                             std::int64_t width) {
  auto mixer = make_root(
      build_kind<Mixer, MixerSite>(slot, make_choice(slot, kind, parse_yaml(parameters, "test")), {0, 2, width}), "m");
  mixer->allocate(1);
  return mixer;
}

void expect_config_error(const std::string& parameters, std::int64_t width, const std::vector<std::string>& parts) {
  try {
    build("time_mix", "attention", parameters, width);
    ADD_FAILURE() << "no ConfigError for " << parameters;
  } catch (const ConfigError& error) {
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what() << " lacks " << part;
    }
  }
}

TEST(AttentionBlock, HeadSizesThatDoNotFitAreRefusedWithOneThatDoes) {
  expect_config_error("{head_size: 5, positions: none}", 12, {"head_size is 5", "for example 4"});
  expect_config_error("{head_size: 3, positions: rotary}", 12, {"head_size is 3", "even", "for example 2"});
  expect_config_error("{positions: rotary}", 7, {"width 7", "none"});
  expect_config_error("{head_size: 40, positions: alibi}", 12, {"head_size is 40", "for example 12"});
}

// Learned positions and biases of pairs end; a sequence that is carried on past the end is refused too.
TEST(AttentionBlock, SequencesLongerThanTheTablesAreRefused) {
  for (const auto& [kind, parameters] :
       {std::pair{"attention", "{positions: learned, max_length: 5}"}, std::pair{"aft_full", "{max_length: 5}"}}) {
    const auto mixer = build("time_mix", kind, parameters, 8);
    State state;
    ForwardContext first, second;
    first.state_out = &state;
    second.state_in = &state;
    mixer->forward(Var(normal_tensor({1, 5, 8}, "x", 1, DType::f32)), first);
    for (const std::int64_t time : {1, 6}) {
      try {
        mixer->forward(Var(normal_tensor({1, time, 8}, "x", 1, DType::f32)), time == 1 ? second : ForwardContext());
        ADD_FAILURE() << kind << ": no error";
      } catch (const ShapeError& error) {
        EXPECT_NE(std::string(error.what()).find("a sequence of 6 tokens"), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find("max_length"), std::string::npos) << error.what();
      }
    }
  }
}

TEST(AttentionBlock, ItsStateIsDeclaredAsGrowing) {
  for (const char* const kind : {"attention", "aft_full"}) {
    for (const StatePiece& piece : build("time_mix", kind, "{}", 8)->state_pieces()) EXPECT_TRUE(piece.grows());
  }
  for (const char* const kind : {"aft_simple", "lstm", "gru", "rwkv4"}) {
    for (const StatePiece& piece : build("time_mix", kind, "{}", 8)->state_pieces()) EXPECT_FALSE(piece.grows());
  }
}

// The published count of a Transformer's block: 12 D² + 9 D with its two norms (4 D).
TEST(TransformerBlocks, ParameterCounts) {
  const auto count = [](const char* slot, const char* kind, const char* parameters) {
    std::int64_t total = 0;
    const auto mixer = build(slot, kind, parameters, 24);
    for (const Parameter* const p : mixer->parameters()) total += p->shape.elements();
    return total;
  };
  constexpr std::int64_t d = 24;
  EXPECT_EQ(count("time_mix", "attention", "{head_size: 6}") + count("channel_mix", "gelu_mlp", "{}"),
            12 * d * d + 5 * d);
  EXPECT_EQ(count("time_mix", "attention", "{positions: learned, max_length: 16}"), 4 * d * d + 16 * d);
  EXPECT_EQ(count("time_mix", "lstm", "{}"), 8 * d * d + 8 * d);
  EXPECT_EQ(count("time_mix", "gru", "{}"), 6 * d * d + 6 * d);
  EXPECT_EQ(count("time_mix", "aft_full", "{max_length: 16}"), 4 * d * d + 16 * 16);
  EXPECT_EQ(count("channel_mix", "swiglu", "{}"), 3 * d * (8 * d / 3));
  EXPECT_EQ(count("channel_mix", "none", "{}"), 0);
}

TEST(TransformerBlocks, TheForgetGateBeginsOpen) {
  const auto raised = build("time_mix", "lstm", "{}", 8), plain = build("time_mix", "lstm", "{forget_bias: 0}", 8);
  const std::vector<double> a = raised->parameters()[2]->var.value().to_doubles();
  const std::vector<double> b = plain->parameters()[2]->var.value().to_doubles();
  ASSERT_EQ(raised->parameters()[2]->name, "m.bias_ih_l0");
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(a[i] - b[i], i >= 8 && i < 16 ? 1 : 0, 1e-6);  // Rounding of float32.
    EXPECT_LE(std::fabs(b[i]), 1 / std::sqrt(8.0));
  }
}

TEST(TransformerBlocks, NoneAddsNothing) {
  const auto none = build("channel_mix", "none", "{}", 8);
  const Var x = Var::leaf(normal_tensor({2, 3, 8}, "x", 1, DType::f32));
  EXPECT_EQ(test::largest(none->forward(x, {}).value()), 0);
  EXPECT_EQ(none->forward(x, {}).shape(), x.shape());
  EXPECT_TRUE(none->state_pieces().empty());
}

}  // namespace
}  // namespace rwkvlab
