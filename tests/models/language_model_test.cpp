#include "models/language_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "kernels/matmul.h"
#include "models/residual_layer.h"
#include "tests/models/params_of.h"
#include "tests/support/gradient_check.h"

namespace rwkvlab {
namespace {

using test::normal_tensor;
using test::params_of;

std::unique_ptr<LanguageModel> model_of(const std::string& yaml, DType type = DType::f32, bool disturbed = false) {
  auto model = make_language_model(params_of(yaml));
  model->allocate(7, type);
  if (!disturbed) return model;
  // The official initial values are zero where a mistake could hide.
  for (const Parameter* const p : model->parameters()) {
    const Tensor noise = normal_tensor(p->shape, p->name, 0.3);
    const std::vector<double> initial = p->var.value().to_doubles();
    for (std::size_t i = 0; i < initial.size(); ++i) noise.data<double>()[i] += initial[i];
    p->var.value().copy_from(noise.to(type));
  }
  return model;
}

std::vector<std::string> parameter_names(const Module& model) {
  std::vector<std::string> names;
  for (const Parameter* const p : model.parameters()) names.push_back(p->name);
  return names;
}

const Parameter& parameter(const Module& model, const std::string& name) {
  for (const Parameter* const p : model.parameters()) {
    if (p->name == name) return *p;
  }
  throw BugError("no parameter " + name);
}

TEST(LanguageModel, GradientsWithEveryOption) {
  const std::string base = "layers: 2, width: 6, vocabulary_size: 7";
  for (const std::string options : {
           "",
           ", pre_ffn: {kind: rwkv4}",
           ", copy_head: 3",
           ", tiny_attention: {layer: 1, width: 3}",
           ", tiny_attention: {layer: 0, width: 2}, pre_ffn: {kind: rwkv4}, copy_head: 2",
           ", time_mix: {kind: rwkv4, small_attention: 2}",
           ", layer_overrides: [{layers: [1], channel_mix: {kind: mish_glu, hidden_width: 5}}]",
           ", embedding_norm: false",
           ", tied_head: true, positions: learned, max_length: 5, embedding_dropout: 0.2",
           ", pattern: [{time_mix: {kind: rwkv6, mix_rank: 2, decay_rank: 2}}, {channel_mix: {kind: identity}}]",
           ", dropout: 0.3",
           ", time_mix: {kind: rwkv7, head_size: 3, decay_rank: 2, rate_rank: 2, value_rank: 2, gate_rank: 2}, "
           "channel_mix: {kind: rwkv7}",
       }) {
    SCOPED_TRACE(options);
    const auto model = model_of("{" + base + options + "}", DType::f64, true);
    const Tensor tokens = test::random_tokens({2, 5}, 7, "tokens"), targets = test::random_tokens({2, 5}, 7, "targets");
    test::Leaves leaves;
    for (const Parameter* const p : model->parameters()) leaves.emplace_back(p->name, p->var);
    ForwardContext context;
    context.training = true;
    context.seed = 3;
    test::GradientCheckOptions few;
    few.samples = 4;
    EXPECT_TRUE(test::gradients_agree(
        leaves, [&] { return std::vector{model->loss(tokens, targets, 0, context).loss}; }, few));
    for (const auto& [name, leaf] : leaves) EXPECT_TRUE(leaf.grad().defined()) << name << " gets no gradient";
  }
}

// The first layer's value is mixed into the second's: closed by v0 -> -inf it does nothing, open it changes the result;
// and passes do not see one another's.
TEST(LanguageModel, TheFirstLayersValueReachesLaterLayers) {
  const std::string mixes = "time_mix: {kind: rwkv7, head_size: 3}, channel_mix: {kind: rwkv7}";
  const auto model = model_of("{layers: 3, width: 6, vocabulary_size: 7, " + mixes + "}", DType::f64, true);
  const auto without = model_of(
      "{layers: 3, width: 6, vocabulary_size: 7, time_mix: {kind: rwkv7, head_size: 3, value_residual: false}, "
      "channel_mix: {kind: rwkv7}}",
      DType::f64, true);
  const Tensor tokens = test::random_tokens({2, 5}, 7, "tokens"), others = test::random_tokens({1, 3}, 7, "others");
  const Tensor open = model->logits(tokens, {}).value();
  model->logits(others, {});
  EXPECT_TRUE(test::equal_bytes(model->logits(tokens, {}).value(), open));
  EXPECT_FALSE(test::close(open, without->logits(tokens, {}).value(), 1e-6));
  for (const char* const name : {"blocks.1.att.v0", "blocks.2.att.v0"}) parameter(*model, name).var.value().fill(-1e3);
  EXPECT_TRUE(test::close(model->logits(tokens, {}).value(), without->logits(tokens, {}).value(), 1e-14));
}

// In a stack of several kinds, the first layer of this kind counts.
TEST(LanguageModel, TheFirstLayerOfRwkv7MayComeLater) {
  const auto model = model_of(
      "{layers: 3, width: 6, vocabulary_size: 7, time_mix: {kind: rwkv7, head_size: 3}, "
      "layer_overrides: [{layers: [0], time_mix: {kind: rwkv4}}]}",
      DType::f64, true);
  const Tensor tokens = test::random_tokens({2, 5}, 7, "tokens");
  const Tensor before = model->logits(tokens, {}).value();
  parameter(*model, "blocks.1.att.v0").var.value().fill(-1e3);
  EXPECT_TRUE(test::close(model->logits(tokens, {}).value(), before, 1e-14)) << "layer 1 has nothing to mix in";
  parameter(*model, "blocks.2.att.v0").var.value().fill(-1e3);
  EXPECT_FALSE(test::close(model->logits(tokens, {}).value(), before, 1e-6));
}

TEST(LanguageModel, OfficialParameterNamesAndShapes) {
  const auto model = make_language_model(params_of("{layers: 1, width: 4, vocabulary_size: 7}"));
  std::map<std::string, Shape> found;
  for (const Parameter* const p : model->parameters()) found[p->name] = p->shape;
  const Shape vector = {4}, mix = {1, 1, 4}, square = {4, 4};
  const std::map<std::string, Shape> official = {
      {"emb.weight", {7, 4}},
      {"blocks.0.ln0.weight", vector},
      {"blocks.0.ln0.bias", vector},
      {"blocks.0.ln1.weight", vector},
      {"blocks.0.ln1.bias", vector},
      {"blocks.0.ln2.weight", vector},
      {"blocks.0.ln2.bias", vector},
      {"blocks.0.att.time_decay", vector},
      {"blocks.0.att.time_first", vector},
      {"blocks.0.att.time_mix_k", mix},
      {"blocks.0.att.time_mix_v", mix},
      {"blocks.0.att.time_mix_r", mix},
      {"blocks.0.att.key.weight", square},
      {"blocks.0.att.value.weight", square},
      {"blocks.0.att.receptance.weight", square},
      {"blocks.0.att.output.weight", square},
      {"blocks.0.ffn.time_mix_k", mix},
      {"blocks.0.ffn.time_mix_r", mix},
      {"blocks.0.ffn.key.weight", {16, 4}},
      {"blocks.0.ffn.receptance.weight", square},
      {"blocks.0.ffn.value.weight", {4, 16}},
      {"ln_out.weight", vector},
      {"ln_out.bias", vector},
      {"head.weight", {7, 4}},
  };
  EXPECT_EQ(found, official);
}

TEST(LanguageModel, NamesOfTheOptions) {
  const auto model = make_language_model(
      params_of("{layers: 2, width: 4, vocabulary_size: 7, pre_ffn: {kind: rwkv4}, copy_head: 3, "
                "tiny_attention: {layer: 1, width: 2}, time_mix: {kind: rwkv4, small_attention: 2}}"));
  const std::vector<std::string> list = parameter_names(*model);
  const std::set<std::string> names(list.begin(), list.end());
  EXPECT_EQ(names.size(), list.size());
  for (const char* const name :
       {"blocks.0.ffnPre.key.weight", "blocks.0.ffn.key.weight", "head_q.weight", "head_k.weight",
        "blocks.1.tiny_ln.weight", "blocks.1.tiny_q.weight", "blocks.1.tiny_k.weight", "blocks.1.tiny_v.weight",
        "blocks.1.att.qq.weight", "blocks.1.att.kk.weight", "blocks.1.att.vv.weight", "blocks.1.att.oo.weight",
        "blocks.1.att.time_mix_qq"}) {
    EXPECT_TRUE(names.count(name)) << name;
  }
  for (const std::string& name : names) EXPECT_EQ(name.find("blocks.0.att"), std::string::npos) << name;
}

struct OfficialSize {
  const char* name;
  std::int64_t layers, width, parameters;
  double flops;  // forward, per token, as the paper prints it
};
constexpr OfficialSize official_sizes[] = {
    {"169M", 12, 768, 169342464, 2.613e8},   {"430M", 24, 1024, 430397440, 7.573e8},
    {"1.5B", 24, 2048, 1515106304, 2.823e9}, {"3B", 32, 2560, 2984627200, 5.710e9},
    {"7B", 32, 4096, 7392649216, 1.437e10},  {"14B", 40, 5120, 14148597760, 2.778e10},
};
constexpr std::int64_t pile_vocabulary = 50277;

// Table 2 of arXiv:2305.13048; the FLOPs there are those of the forward pass, 2 (V D + 13 D² L) per token.
TEST(LanguageModel, OfficialSizesWithoutMemory) {
  const ShapeOnly shape_only;
  const std::int64_t calls = memory_use().system_calls;
  for (const OfficialSize& size : official_sizes) {
    SCOPED_TRACE(size.name);
    LanguageModelParams params = params_of("{}");
    params.layers = static_cast<int>(size.layers);
    params.width = size.width;
    const auto model = make_language_model(params, pile_vocabulary);
    model->allocate_uninitialised();
    std::int64_t count = 0;
    for (const Parameter* const p : model->parameters()) count += p->shape.elements();
    EXPECT_EQ(count, size.parameters);

    constexpr std::int64_t batch = 2, time = 16;
    const Tensor tokens = Tensor::empty({batch, time}, DType::i64);
    kernels::MatmulRecorder recorder;
    Tape tape;
    const CrossEntropyLoss loss = model->loss(tokens, tokens, 1e-4, {});
    const double exact =
        2.0 * static_cast<double>(pile_vocabulary * size.width + 13 * size.width * size.width * size.layers);
    EXPECT_EQ(recorder.flops() / (batch * time), exact);
    EXPECT_NEAR(exact, size.flops, 1e-3 * size.flops);  // Printed with four digits.
    tape.backward(loss.loss);
    EXPECT_EQ(recorder.flops() / (batch * time), 3 * exact);
    for (const Parameter* const p : model->parameters()) EXPECT_EQ(p->var.grad().shape(), p->shape) << p->name;
  }
  EXPECT_EQ(memory_use().system_calls, calls);
}

TEST(LanguageModel, Rwkv4a169MHasItsPublishedSize) {
  const auto model = make_language_model(params_of("{layers: 12, width: 768, tiny_attention: {layer: 9, width: 256}}"),
                                         pile_vocabulary);
  std::int64_t count = 0;
  for (const Parameter* const p : model->parameters()) count += p->shape.elements();
  EXPECT_EQ(count, 170327040);
}

// The deterministic initial values of the official trainer (formulas of arXiv:2305.13048, appendix, as its code has
// them), and which matrices start at zero.
TEST(LanguageModel, InitialValues) {
  constexpr std::int64_t layers = 3, width = 8;
  const auto model = model_of("{layers: 3, width: 8, vocabulary_size: 32, embedding_scale: 0.01}", DType::f64);
  for (std::int64_t l = 0; l < layers; ++l) {
    const double depth = static_cast<double>(l) / (layers - 1), remaining = 1 - static_cast<double>(l) / layers;
    const std::string att = "blocks." + std::to_string(l) + ".att.", ffn = "blocks." + std::to_string(l) + ".ffn.";
    const auto value = [&](const std::string& name, std::int64_t i) {
      return parameter(*model, name).var.value().data<double>()[i];
    };
    for (std::int64_t i = 0; i < width; ++i) {
      const double x = static_cast<double>(i) / width, ramp = static_cast<double>(i) / (width - 1);
      EXPECT_NEAR(value(att + "time_decay", i), -5 + 8 * std::pow(ramp, 0.7 + 1.3 * depth), 1e-14);
      const double zigzag[] = {0, 0.5, -0.5};  // 0.5 (((c + 1) mod 3) - 1) for c mod 3 = 0, 1, 2
      EXPECT_NEAR(value(att + "time_first", i), std::log(0.3) + zigzag[i % 3], 1e-14);
      EXPECT_NEAR(value(att + "time_mix_k", i), std::pow(x, remaining), 1e-14);
      EXPECT_NEAR(value(att + "time_mix_v", i), std::pow(x, remaining) + 0.3 * depth, 1e-14);
      EXPECT_NEAR(value(att + "time_mix_r", i), std::pow(x, 0.5 * remaining), 1e-14);
      EXPECT_NEAR(value(ffn + "time_mix_k", i), std::pow(x, remaining), 1e-14);
      EXPECT_NEAR(value(ffn + "time_mix_r", i), std::pow(x, remaining), 1e-14);
    }
    for (const std::string& name :
         {att + "key", att + "receptance", att + "output", ffn + "receptance", ffn + "value"}) {
      EXPECT_EQ(test::largest(parameter(*model, name + ".weight").var.value()), 0) << name;
    }
    // Frobenius norms of orthogonal matrices: gain² times the number of orthonormal rows or columns.
    const auto square = [&](const std::string& name) {
      double sum = 0;
      for (const double w : parameter(*model, name).var.value().to_doubles()) sum += w * w;
      return sum;
    };
    EXPECT_NEAR(square(att + "value.weight"), width, 1e-5);
    EXPECT_NEAR(square(ffn + "key.weight"), 4 * width, 1e-5);  // gain 2 = sqrt(4 D / D)
    EXPECT_NEAR(square("head.weight"), width, 1e-5);           // (0.5 sqrt(32 / 8))² = 1
  }
  const Tensor& embedding = parameter(*model, "emb.weight").var.value();
  EXPECT_LE(test::largest(embedding), 0.01);
  EXPECT_GT(test::largest(embedding), 0.009);
}

TEST(LanguageModel, RulesOfTheOptimiser) {
  const auto model = make_language_model(params_of("{layers: 1, width: 4, vocabulary_size: 7}"));
  for (const Parameter* const p : model->parameters()) {
    const auto has = [&](const char* part) { return p->name.find(part) != std::string::npos; };
    const double scale = has("time_decay") ? 2 : has("time_first") ? 3 : 1;
    const double warm_up = has("time_") ? 5 : 1;
    EXPECT_EQ(p->rules.learning_rate_scale, scale) << p->name;
    EXPECT_EQ(p->rules.warm_up_stage_scale, warm_up) << p->name;
    EXPECT_EQ(p->rules.weight_decay, p->shape.rank() == 2) << p->name;
  }
}

TEST(LanguageModel, InitialLossIsNearTheUniformOne) {
  const auto model = model_of("{layers: 4, width: 32, vocabulary_size: 50}");
  const Tensor tokens = test::random_tokens({2, 20}, 50, "tokens"),
               targets = test::random_tokens({2, 20}, 50, "targets");
  EXPECT_TRUE(test::all_finite(model->logits(tokens, {}).value()));
  // The head is orthogonal with gain 0.5 sqrt(50 / 32) and LN(x) has length sqrt(32): logits of deviation 0.5.
  EXPECT_NEAR(model->loss(tokens, targets, 0, {}).loss.value().item(), std::log(50.0), 1);
}

TEST(LanguageModel, PlainGradientDescentFitsOneBatch) {
  const auto model = model_of("{layers: 2, width: 16, vocabulary_size: 11, embedding_scale: 0.1}");
  const Tensor tokens = test::random_tokens({2, 12}, 11, "tokens"),
               targets = test::random_tokens({2, 12}, 11, "targets");
  double first = 0, last = 0;
  for (int step = 0; step < 30; ++step) {
    Tape tape;
    const CrossEntropyLoss loss = model->loss(tokens, targets, 0, {});
    last = loss.loss.value().item();
    if (step == 0) first = last;
    tape.backward(loss.loss);
    for (Parameter* const p : model->parameters()) {
      for (std::size_t i = 0; i < p->var.value().span<float>().size(); ++i) {
        p->var.value().span<float>()[i] -= 0.3F * p->var.grad().span<float>()[i];
      }
      p->var.clear_grad();
    }
  }
  EXPECT_GT(first, 2);
  EXPECT_LT(last, 0.5 * first);
}

TEST(LanguageModel, ChunksWithCarriedStateEqualOnePass) {
  for (const auto& [type, tolerance] : {std::pair{DType::f32, 1e-5}, std::pair{DType::f64, 1e-12}}) {
    const auto model = model_of("{layers: 3, width: 8, vocabulary_size: 13, pre_ffn: {kind: rwkv4}}", type, true);
    const Tensor tokens = test::random_tokens({1, 9}, 13, "tokens");
    const Tensor whole = model->logits(tokens, {}).value();
    State state;
    for (const auto& [begin, end] : {std::pair<std::int64_t, std::int64_t>{0, 4}, {4, 5}, {5, 9}}) {
      State next;
      ForwardContext context;
      context.state_in = &state;  // Empty at first: the start of a sequence.
      context.state_out = &next;
      const Tensor part = tokens.reshaped({9}).rows(begin, end).reshaped({1, end - begin});
      EXPECT_TRUE(test::close(model->logits(part, context).value().reshaped({end - begin, 13}),
                              whole.reshaped({9, 13}).rows(begin, end), tolerance));
      state = next;
    }
  }
}

// A channel mix of RWKV-4 begins with a zero matrix, so that it adds nothing either.
TEST(LanguageModel, NoChannelMixIsOneThatAddsZero) {
  const std::string base = "{layers: 2, width: 6, vocabulary_size: 7, dropout: 0.3, time_mix: {kind: rwkv4}";
  const auto none = model_of(base + ", channel_mix: {kind: none}}"), zero = model_of(base + "}");
  const Tensor tokens = test::random_tokens({2, 5}, 7, "tokens");
  for (Module* const model : {none.get(), zero.get()}) {
    for (const char* const output : {"blocks.0.att.output.weight", "blocks.1.att.output.weight"})
      parameter(*model, output).var.value().copy_from(normal_tensor({6, 6}, output).to(DType::f32));
  }
  for (const bool training : {false, true}) {
    ForwardContext context;
    context.training = training;
    EXPECT_EQ(none->logits(tokens, context).value().to_doubles(), zero->logits(tokens, context).value().to_doubles());
  }
}

TEST(LanguageModel, LayerByLayerEqualsLogits) {
  const auto model =
      model_of("{layers: 2, width: 8, vocabulary_size: 13, tiny_attention: {layer: 0, width: 4}, copy_head: 4}",
               DType::f32, true);
  const Tensor tokens = test::random_tokens({2, 5}, 13, "tokens");
  const Var raw = model->raw_embedding(tokens, {});
  Var x = model->embed(tokens, {}, raw);
  for (int layer = 0; layer < 2; ++layer) x = model->layer(layer, x, raw, {});
  EXPECT_TRUE(test::equal_bytes(model->head(x, tokens, {}).value(), model->logits(tokens, {}).value()));
}

TEST(LanguageModel, WhatSeesTheWholeSequenceRefusesAState) {
  const Tensor tokens = test::random_tokens({1, 4}, 7, "tokens");
  for (const auto& [option, word] :
       {std::pair{"copy_head: 2", "copy_head"}, std::pair{"tiny_attention: {layer: 0, width: 2}", "tiny_attention"},
        std::pair{"time_mix: {kind: rwkv4, small_attention: 2}", "small_attention"}}) {
    const auto model = model_of("{layers: 1, width: 4, vocabulary_size: 7, " + std::string(option) + "}");
    State state;
    ForwardContext context;
    context.state_out = &state;
    try {
      model->logits(tokens, context);
      ADD_FAILURE() << word;
    } catch (const ShapeError& error) {
      EXPECT_NE(std::string(error.what()).find(std::string(word) + " sees the whole sequence"), std::string::npos)
          << error.what();
    }
  }
}

TEST(LanguageModel, DropoutChangesWithTheStepAndNotOutsideTraining) {
  const auto model = model_of("{layers: 1, width: 8, vocabulary_size: 7, dropout: 0.5}", DType::f32, true);
  const Tensor tokens = test::random_tokens({2, 6}, 7, "tokens");
  const auto logits = [&](bool training, std::uint64_t step) {
    ForwardContext context;
    context.training = training;
    context.step = step;
    return model->logits(tokens, context).value();
  };
  EXPECT_TRUE(test::equal_bytes(logits(true, 1), logits(true, 1)));
  EXPECT_FALSE(test::equal_bytes(logits(true, 1), logits(true, 2)));
  EXPECT_FALSE(test::equal_bytes(logits(true, 1), logits(false, 1)));
  EXPECT_TRUE(test::equal_bytes(logits(false, 1), logits(false, 2)));
}

TEST(LanguageModel, LayerOverridesReplaceTheMixersOfTheirLayers) {
  const auto model = make_language_model(params_of(
      "{layers: 3, width: 4, vocabulary_size: 7, layer_overrides: [{layers: [0, 1], channel_mix: {kind: mish_glu}}, "
      "{layers: [1], channel_mix: {kind: rwkv4, hidden_width: 6}}]}"));
  EXPECT_EQ(parameter(*model, "blocks.0.ffn.aa.weight").shape, (Shape{16, 4}));
  EXPECT_EQ(parameter(*model, "blocks.1.ffn.key.weight").shape, (Shape{6, 4})) << "the last entry wins";
  EXPECT_EQ(parameter(*model, "blocks.2.ffn.key.weight").shape, (Shape{16, 4}));
}

template <class Body>
void expect_config_error(Body&& body, const std::string& part) {
  try {
    body();
    ADD_FAILURE() << "no ConfigError with " << part;
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(LanguageModel, RefusesMixersOfImages) {
  for (const std::string slot : {"time_mix", "channel_mix"}) {
    expect_config_error([&] { make_language_model(params_of("{" + slot + ": {kind: vision_rwkv}}"), 11); },
                        "the " + slot + " 'vision_rwkv' is for images");
  }
}

TEST(LanguageModel, ImpossibleCombinations) {
  expect_config_error([] { make_language_model(params_of("{}")); }, "vocabulary size is unknown");
  expect_config_error([] { make_language_model(params_of("{vocabulary_size: 10}"), 11); }, "the data has 11 tokens");
  EXPECT_EQ(make_language_model(params_of("{vocabulary_size: 12}"), 11)->vocabulary(), 12);
  EXPECT_EQ(make_language_model(params_of("{}"), 11)->vocabulary(), 11);
  expect_config_error([] { params_of("{layers: 2, tiny_attention: {layer: 2}}"); }, "layers 0 to 1");
  expect_config_error([] { params_of("{layers: 2, layer_overrides: [{layers: [5]}]}"); }, "layer 5");
  // The same through C++, without YAML.
  LanguageModelParams params = params_of("{}");
  params.tiny_attention = TinyAttentionParams{6, 4};
  expect_config_error([&] { make_language_model(params, 11); }, "tiny_attention.layer is 6");
  const auto model = model_of("{layers: 1, width: 4, vocabulary_size: 7}");
  EXPECT_THROW(model->logits(Tensor::from<std::int64_t>({1, 1}, std::vector<std::int64_t>{7}), {}), DataError);
}

}  // namespace
}  // namespace rwkvlab
