#include "run/describe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/language_model.h"
#include "run/experiment.h"
#include "tensor/memory.h"
#include "tests/run/make_experiment.h"
#include "train/precision.h"

namespace rwkvlab {
namespace {
using testing::HasSubstr;

struct OfficialSize {
  const char* file;
  std::int64_t layers, width, parameters;
};

class OfficialSizes : public testing::TestWithParam<OfficialSize> {};

// Parameters: the published counts. FLOPs: 2 (V D + 13 D² L) (arXiv:2305.13048).
TEST_P(OfficialSizes, HaveThePublishedCounts) {
  const OfficialSize size = GetParam();
  const LoadedExperiment loaded =
      load_experiment(std::string(RWKVLAB_SOURCE_DIR "/configs/models/rwkv4_") + size.file + ".yaml");
  const auto model = build_model(loaded);
  const std::int64_t calls_before = memory_use().system_calls;
  const ModelDescription description = describe_model(*model, {4, 1024});
  EXPECT_EQ(memory_use().system_calls, calls_before) << "weights were allocated";
  EXPECT_EQ(description.parameters, size.parameters);
  const auto d = static_cast<double>(size.width), layers = static_cast<double>(size.layers);
  EXPECT_DOUBLE_EQ(description.forward_flops_per_token, 2 * (50277 * d + 13 * d * d * layers));
  EXPECT_EQ(description.state_elements, 5 * size.layers * size.width);
  EXPECT_EQ(description.memory.parameters, 4 * size.parameters);
  EXPECT_EQ(description.memory.optimizer, 8 * size.parameters);
  EXPECT_THAT(describe_text(description), HasSubstr("Parameters        " + grouped(size.parameters) + "\n"));
  EXPECT_EQ(describe_json(description)["parameters"], size.parameters);
  EXPECT_FALSE(model->parameters().front()->var.defined());
}

INSTANTIATE_TEST_SUITE_P(
    Pile, OfficialSizes,
    testing::Values(OfficialSize{"169m", 12, 768, 169'342'464}, OfficialSize{"430m", 24, 1024, 430'397'440},
                    OfficialSize{"1b5", 24, 2048, 1'515'106'304}, OfficialSize{"3b", 32, 2560, 2'984'627'200},
                    OfficialSize{"7b", 32, 4096, 7'392'649'216}, OfficialSize{"14b", 40, 5120, 14'148'597'760}),
    [](const auto& entry) { return std::string(entry.param.file); });

struct Rwkv7Size {
  const char* file;
  std::int64_t layers, width, vocabulary, decay_rank, value_rank, gate_rank, parameters;
};

class Rwkv7Sizes : public testing::TestWithParam<Rwkv7Size> {};

// Parameters: those of the released weights. The first layer has no value residual. FLOPs: two per weight of a matrix.
TEST_P(Rwkv7Sizes, HaveThePublishedCounts) {
  const Rwkv7Size s = GetParam();
  const auto model =
      build_model(load_experiment(std::string(RWKVLAB_SOURCE_DIR "/configs/models/rwkv7_") + s.file + ".yaml"));
  const ModelDescription description = describe_model(*model, {4, 1024});
  EXPECT_EQ(description.parameters, s.parameters);
  const std::int64_t ranks = 2 * s.decay_rank + s.value_rank + s.gate_rank;
  const std::int64_t matrices =
      s.vocabulary * s.width + s.layers * s.width * (12 * s.width + 2 * ranks) - 2 * s.value_rank * s.width;
  EXPECT_DOUBLE_EQ(description.forward_flops_per_token, 2 * static_cast<double>(matrices));
  EXPECT_EQ(description.state_elements, 66 * s.layers * s.width);
}

// The cache of attention holds a key and a value per token, layer and channel; other states have one size.
TEST(DescribeTest, AStateThatGrowsIsCountedAfterTheContext) {
  const auto describe = [](const std::string& file) {
    const LoadedExperiment loaded =
        load_experiment(RWKVLAB_SOURCE_DIR "/configs/models/" + file, {"model.vocabulary_size=17"});
    return describe_model(*build_model(loaded), {2, 24});
  };
  const ModelDescription transformer = describe("transformer_tiny.yaml"), recurrent = describe("lstm_tiny.yaml");
  EXPECT_EQ(transformer.state_elements_per_token, 2 * 2 * 32);
  EXPECT_EQ(transformer.state_elements, 24 * 2 * 2 * 32);
  EXPECT_EQ(recurrent.state_elements_per_token, 0);
  EXPECT_EQ(recurrent.state_elements, 2 * 2 * 32);
}

INSTANTIATE_TEST_SUITE_P(Released, Rwkv7Sizes,
                         testing::Values(Rwkv7Size{"pile_168m", 12, 768, 50304, 64, 32, 128, 167'638'272},
                                         Rwkv7Size{"pile_421m", 24, 1024, 50304, 64, 32, 160, 421'145'600},
                                         Rwkv7Size{"pile_1b5", 24, 2048, 50304, 96, 64, 256, 1'465'014'272},
                                         Rwkv7Size{"world_0b1", 12, 768, 65536, 64, 32, 128, 191'034'624},
                                         Rwkv7Size{"world_0b4", 24, 1024, 65536, 64, 32, 128, 450'767'872},
                                         Rwkv7Size{"world_1b5", 24, 2048, 65536, 96, 64, 256, 1'527'404'544},
                                         Rwkv7Size{"world_2b9", 32, 2560, 65536, 96, 64, 320, 2'947'735'040}),
                         [](const auto& entry) { return std::string(entry.param.file); });

class Describe : public testing::Test {
 protected:
  std::unique_ptr<Module> model(const std::string& more = "") {
    return build_model(load_experiment(folder_.make(
        "model.yaml", "model: {kind: language_model, layers: 3, width: 16, vocabulary_size: 40" + more + "}\n")));
  }
  TemporaryFolder folder_;
};

void expect_memory_of_a_real_pass(Module& described, Module& real, const std::string& precision) {
  DescribeOptions options = {2, 24};
  options.precision = precision;
  const ModelDescription description = describe_model(described, options);
  real.allocate(1);
  const Tensor tokens = Tensor::zeros({2, 24}, DType::i64);
  const std::int64_t before = memory_use().live;
  reset_peak_memory();
  const PrecisionScope scope(precision);
  Tape tape;
  ForwardContext context;
  context.training = true;
  {
    const CrossEntropyLoss loss = dynamic_cast<LanguageModel&>(real).loss(tokens, tokens, 0, context);
    EXPECT_EQ(description.memory.activations, memory_use().live - before);
    tape.backward(loss.loss);
  }
  EXPECT_EQ(description.memory.peak, memory_use().peak - before);
  EXPECT_THAT(describe_text(description), HasSubstr("Memory of a training step, " + precision_used(precision) + ", "));
}

TEST_F(Describe, MemoryIsWhatARealPassUses) {
  expect_memory_of_a_real_pass(*model(), *model(), "float32");
  const auto wide = [this] {
    return build_model(
        load_experiment(folder_.make("model.yaml", "model: {kind: language_model, layers: 2, width: 64}\n"),
                        {"model.vocabulary_size=70"}));
  };
  expect_memory_of_a_real_pass(*wide(), *wide(), "bfloat16_products");
  expect_memory_of_a_real_pass(*model(", recompute: blocks"), *model(", recompute: blocks"), "float32");
}

TEST_F(Describe, RecomputationCostsItsLayersOnceMoreAndKeepsLess) {
  const auto plain = model(), again = model(", recompute: blocks");
  const ModelDescription kept = describe_model(*plain, {2, 24}), computed = describe_model(*again, {2, 24});
  EXPECT_EQ(computed.forward_flops_per_token, kept.forward_flops_per_token);
  double layers = 0;
  for (const ModuleDescription& part : kept.root.children) {
    if (part.name == "blocks.0" || part.name == "blocks.1") layers += part.flops_per_token;
  }
  EXPECT_DOUBLE_EQ(computed.training_flops_per_token(), kept.training_flops_per_token() + layers);
  EXPECT_LT(computed.memory.activations, kept.memory.activations);
  EXPECT_THAT(describe_text(computed), HasSubstr("of layers that are computed again"));
}

TEST_F(Describe, PartsAddUp) {
  const auto described = model();
  const ModelDescription description = describe_model(*described, {2, 24});
  std::int64_t parameters = 0;
  double flops = 0;
  for (const ModuleDescription& part : description.root.children) {
    parameters += part.parameters;
    flops += part.flops_per_token;
  }
  EXPECT_EQ(parameters, description.parameters);
  EXPECT_NEAR(flops, description.forward_flops_per_token, 1e-6);
}

TEST_F(Describe, TextFoldsEqualLayers) {
  const auto described = model();
  const std::string text = describe_text(describe_model(*described, {}));
  EXPECT_THAT(text, HasSubstr("├─ blocks.0 "));
  EXPECT_THAT(text, HasSubstr("├─ blocks.1, blocks.2, each"));
  EXPECT_THAT(text, HasSubstr("time_decay"));
  EXPECT_THAT(text, HasSubstr("[64, 16]"));
}

TEST_F(Describe, FrozenParametersNeedNoMoments) {
  const auto described = model();
  DescribeOptions options;
  options.trained_parameters = 100;
  const ModelDescription description = describe_model(*described, options);
  EXPECT_EQ(description.memory.optimizer, 800);
  EXPECT_EQ(description.memory.gradients, 400);
}

TEST(DescribeText, Numbers) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(-1234567), "-1,234,567");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
}

}  // namespace
}  // namespace rwkvlab
