// Token shifts across an image: by the mixers of images themselves, and by those of sequences when the context has one.
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "tests/blocks/variants.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;

std::string shape_error(const std::function<void()>& run) {
  try {
    run();
  } catch (const ShapeError& error) {
    return error.what();
  }
  return "no error";
}

TEST(TokenShiftOfTheContext, TakesThePlaceOfTheTokenBefore) {
  for (const char* const kind : {"rwkv4", "rwkv5", "rwkv6", "rwkv7"}) {
    for (const char* const slot : {"time_mix", "channel_mix"}) {
      SCOPED_TRACE(std::string(slot) + " " + kind);
      const auto mixer = test::build_mixer({slot, kind, "{}"}, DType::f32);
      const Var x(normal_tensor({2, 6, 8}, "x", 1, DType::f32));
      const TokenShift previous = TokenShift::previous_token(6, 8), q_shift = TokenShift::q_shift({2, 3, 0}, 8);
      ForwardContext context;
      context.token_shift = &previous;
      EXPECT_TRUE(test::equal_bytes(mixer->forward(x, context).value(), mixer->forward(x, {}).value()));
      context.token_shift = &q_shift;
      EXPECT_FALSE(test::equal_bytes(mixer->forward(x, context).value(), mixer->forward(x, {}).value()));
      State state;
      context.state_out = &state;
      EXPECT_NE(shape_error([&] { mixer->forward(x, context); }).find("cannot carry a state"), std::string::npos);
    }
  }
}

TEST(ImageMixer, UsesTheShiftOfTheContextOrItsOwn) {
  const Var x(normal_tensor({2, 6, 8}, "x", 1, DType::f32));
  const TokenGrid grid = {2, 3, 0};
  const TokenShift own = TokenShift::q_shift(grid, 8), heads = TokenShift::q_shift_heads(grid, 8, 2);
  for (const char* const slot : {"time_mix", "channel_mix"}) {
    const auto mixer = test::build_mixer({slot, "vision_rwkv", "{}"}, DType::f32);
    ForwardContext with_grid, with_shift;
    with_grid.grid = &grid;
    with_shift.token_shift = &own;
    const Tensor y = mixer->forward(x, with_grid).value();
    EXPECT_TRUE(test::equal_bytes(y, mixer->forward(x, with_shift).value()));
    with_shift.token_shift = &heads;
    EXPECT_FALSE(test::equal_bytes(y, mixer->forward(x, with_shift).value()));
    // Another grid of as many tokens is another shift.
    const TokenGrid turned = {3, 2, 0};
    with_grid.grid = &turned;
    EXPECT_FALSE(test::equal_bytes(y, mixer->forward(x, with_grid).value()));
  }
}

TEST(ImageMixer, SaysWhatIsWrongWithTheGrid) {
  const Var x(normal_tensor({2, 6, 8}, "x", 1, DType::f32));
  const auto mixer = test::build_mixer({"time_mix", "vision_rwkv", "{}"}, DType::f32);
  const std::string none = shape_error([&] { mixer->forward(x, {}); });
  EXPECT_NE(none.find("q_shift"), std::string::npos) << none;
  EXPECT_NE(none.find("blocks.1.mix"), std::string::npos) << none;
  const TokenGrid grid = {2, 2, 1};
  ForwardContext context;
  context.grid = &grid;
  const std::string other = shape_error([&] { mixer->forward(x, context); });
  EXPECT_NE(other.find("grid of 2 x 2 tokens and 1 more"), std::string::npos) << other;
  EXPECT_NE(other.find("[2, 6, 8]"), std::string::npos) << other;
}

TEST(ImageMixer, RefusesHeadsThatDoNotFit) {
  const auto build = [](const char* kind, const char* parameters) {
    return test::unallocated_mixer({"time_mix", kind, parameters}, 12);
  };
  EXPECT_THROW(build("vision_rwkv6", "{head_size: 5}"), ConfigError);
  EXPECT_THROW(build("vision_rwkv6", "{head_size: 6}"), ConfigError) << "no quarters";
  EXPECT_NO_THROW(build("vision_rwkv6", "{head_size: 6, token_shift: previous}"));
  EXPECT_THROW(build("vision_rwkv", "{token_shift: q_shift_heads, head_size: 6}"), ConfigError);
  EXPECT_THROW(
      make_choice("time_mix", "vision_rwkv", parse_yaml("{direction: causal, kernel_form: official_cuda}", "")),
      ConfigError);
}

// Divided by the number of tokens, the decay across an image is the same at every resolution.
TEST(VisionRwkv, BoundedDecayIsPerImage) {
  const auto bounded = test::build_mixer({"time_mix", "vision_rwkv", "{token_shift: none}"}, DType::f64);
  const auto raw =
      test::build_mixer({"time_mix", "vision_rwkv", "{token_shift: none, bounded_decay: false}"}, DType::f64);
  for (Parameter* const p : raw->parameters()) {
    if (p->name.find("spatial_decay") == std::string::npos && p->name.find("spatial_first") == std::string::npos)
      continue;
    for (std::int64_t i = 0; i < p->shape.elements(); ++i) p->var.value().data<double>()[i] /= 12;
  }
  const Var x(normal_tensor({1, 12, 8}, "x"));
  EXPECT_TRUE(test::close(bounded->forward(x, {}).value(), raw->forward(x, {}).value(), 1e-13));
}

}  // namespace
}  // namespace rwkvlab
