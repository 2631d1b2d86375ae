// Layers whose values are computed again in the backward pass: every kind of mixer, to the last bit.
#include <gtest/gtest.h>

#include <algorithm>

#include "autograd/bfloat16_products.h"
#include "base/error.h"
#include "kernels/matmul.h"
#include "tests/blocks/variants.h"
#include "tests/models/params_of.h"

namespace rwkvlab {
namespace {

using test::equal_bytes;
using test::normal_tensor;

constexpr std::int64_t vocabulary = 11;

std::unique_ptr<LanguageModel> model_of(LanguageModelParams params, bool again) {
  params.recompute = again ? "blocks" : "none";
  if (again) {
    params.recompute_layers.clear();
    for (int layer = 0; layer < params.layers; ++layer) params.recompute_layers.push_back(layer);
  }
  auto model = make_language_model(params);
  model->allocate(3);
  for (const Parameter* const p : model->parameters()) {  // Zeros hide mistakes.
    const Tensor noise = normal_tensor(p->shape, p->name, 0.2, DType::f32);
    for (std::int64_t i = 0; i < noise.elements(); ++i) p->var.value().data<float>()[i] += noise.data<float>()[i];
  }
  return model;
}

struct Sink final : ProbeSink {
  void probe(const std::string& path, const Var&, std::string_view) override { paths.push_back(path); }
  std::vector<std::string> paths;
};

// Everything that a training step with truncated back-propagation leaves: loss, gradients of all parameters, the final
// state, and the gradients with respect to the state at the start, when a seed comes back from later chunks.
struct Step {
  Step(const LanguageModelParams& params, bool again, bool carries_state) {
    const auto model = model_of(params, again);
    State before, after;
    ForwardContext context;
    context.training = true;
    context.seed = 5;
    context.step = 2;
    context.probes = &sink;
    if (carries_state) {
      const State empty = model->initial_state(2);
      for (const auto& [name, value] : empty.pieces()) {
        before.set(name, Var::leaf(normal_tensor(value.shape(), name, 0.5, DType::f32)));
      }
      context.state_in = &before;
      context.state_out = &after;
    }
    Tape tape;
    std::vector<Var> outputs = {model
                                    ->loss(test::random_tokens({2, 6}, vocabulary, "tokens"),
                                           test::random_tokens({2, 6}, vocabulary, "next"), 1e-2, context)
                                    .loss};
    Tensors seeds = {Tensor::full({}, 1)};
    records = tape.size();
    for (const auto& [name, value] : after.pieces()) {
      outputs.push_back(value);
      seeds.push_back(normal_tensor(value.shape(), "seed " + name, 1, DType::f32));
      results.emplace_back(name, value.value());
    }
    results.emplace_back("loss", outputs[0].value());
    kept = memory_use().live;
    tape.backward(outputs, seeds);
    for (const Parameter* const p : model->parameters()) results.emplace_back("gradient of " + p->name, p->var.grad());
    for (const auto& [name, value] : before.pieces()) results.emplace_back("gradient of state " + name, value.grad());
  }
  std::vector<std::pair<std::string, Tensor>> results;
  Sink sink;
  std::size_t records = 0;
  std::int64_t kept = 0;
};

void expect_same(const LanguageModelParams& params, bool carries_state) {
  const Step plain(params, false, carries_state), again(params, true, carries_state);
  EXPECT_LT(again.records, plain.records);
  EXPECT_EQ(again.sink.paths, plain.sink.paths);
  ASSERT_EQ(again.results.size(), plain.results.size());
  for (std::size_t i = 0; i < plain.results.size(); ++i) {
    EXPECT_EQ(again.results[i].first, plain.results[i].first);
    EXPECT_TRUE(equal_bytes(again.results[i].second, plain.results[i].second)) << plain.results[i].first;
  }
}

LanguageModelParams params_with(const std::string& more) {
  return test::params_of("{layers: 3, width: 8, vocabulary_size: 11" + more + "}");
}

class EveryMixer : public testing::TestWithParam<test::Variant> {};

TEST_P(EveryMixer, SameBitsAsWithoutRecomputation) {
  const test::Variant& variant = GetParam();
  const std::string mixer =
      ", " + variant.slot + ": {kind: " + variant.kind +
      (variant.parameters == "{}" ? "" : ", " + variant.parameters.substr(1, variant.parameters.size() - 2)) + "}";
  expect_same(params_with(mixer), false);
  if (variant.carries_state) expect_same(params_with(mixer), true);
}

std::vector<test::Variant> defaults_and_hand_written() {
  std::vector<test::Variant> result = test::hand_written_variants();
  for (const char* const slot : {"time_mix", "channel_mix"}) {
    for (const std::string& kind : KindRegistry::instance().kinds(slot)) result.push_back({slot, kind, "{}"});
  }
  // Language models have no place for the mixers of images.
  result.erase(std::remove_if(result.begin(), result.end(), [](const auto& entry) { return !test::is_causal(entry); }),
               result.end());
  return result;
}

INSTANTIATE_TEST_SUITE_P(Recompute, EveryMixer, testing::ValuesIn(defaults_and_hand_written()),
                         [](const auto& entry) { return test::variant_name(entry.param); });

TEST(Recompute, DropoutHybridsAndWhatCrossesLayers) {
  expect_same(params_with(", dropout: 0.3"), true);
  expect_same(params_with(", tied_head: true, positions: learned, max_length: 9"), false);
  expect_same(params_with(", tiny_attention: {layer: 1, width: 4}, pre_ffn: {kind: rwkv4}, copy_head: 3"), false);
  // The first value comes from layer 1 and reaches layer 2.
  const std::string rwkv7 = ", time_mix: {kind: rwkv7, head_size: 4}, channel_mix: {kind: rwkv7}";
  expect_same(params_with(rwkv7 + ", layer_overrides: [{layers: [0], time_mix: {kind: rwkv6}}]"), true);
  expect_same(params_with(", pattern: [{time_mix: {kind: rwkv7}}, {time_mix: {kind: attention, head_size: 4}}]"), true);
}

TEST(Recompute, SomeLayersAlone) {
  LanguageModelParams params = params_with(", recompute: blocks, time_mix: {kind: rwkv7, head_size: 4}");
  EXPECT_TRUE(params.recomputes(0, params.layers) && params.recomputes(1, params.layers) &&
              !params.recomputes(2, params.layers))
      << "all but the last";
  const Step all(params, true, true);
  params.recompute_layers = {1};
  EXPECT_FALSE(params.recomputes(0, params.layers));
  const auto model = make_language_model(params);
  EXPECT_TRUE(model->params().recomputes(1, model->params().layers));
}

TEST(Recompute, InBfloat16) {
  if (!kernels::has_bfloat16_products()) GTEST_SKIP() << "this processor has no bfloat16 products";
  const LanguageModelParams params = test::params_of("{layers: 2, width: 64, vocabulary_size: 70}");
  const Step exact(params, false, true);
  const Bfloat16Products products;
  const Step plain(params, false, true);
  EXPECT_FALSE(equal_bytes(plain.results.back().second, exact.results.back().second));
  expect_same(params, true);
}

TEST(Recompute, KeepsLessMemory) {
  const LanguageModelParams params = test::params_of("{layers: 4, width: 64, vocabulary_size: 11}");
  const std::int64_t before = memory_use().live;
  const std::int64_t plain = Step(params, false, false).kept - before;
  const std::int64_t again = Step(params, true, false).kept - before;
  EXPECT_LT(again, plain);
}

TEST(Recompute, WithoutATapeNothingChanges) {
  const LanguageModelParams params = params_with("");
  const Tensor tokens = test::random_tokens({2, 6}, vocabulary, "tokens");
  EXPECT_TRUE(equal_bytes(model_of(params, true)->logits(tokens, {}).value(),
                          model_of(params, false)->logits(tokens, {}).value()));
}

TEST(Recompute, LayersThatAreNotThere) {
  const auto message = [](const std::string& more) {
    try {
      params_with(more);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(message(", recompute: blocks, recompute_layers: [1, 3]").find("layer 3, but the model has layers 0 to 2"),
            std::string::npos);
  EXPECT_NE(message(", recompute_layers: [1]").find("recompute is none"), std::string::npos);
  EXPECT_NE(message(", recompute: layers").find("blocks"), std::string::npos);
}

}  // namespace
}  // namespace rwkvlab
