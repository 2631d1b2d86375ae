// Official checkpoints: what names and shapes say, and that weights mean the same on the way out and in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "config/resolve.h"
#include "config/yaml_reader.h"
#include "models/official_checkpoint.h"
#include "run/export_model.h"
#include "run/initial_weights.h"
#include "run/load_model.h"
#include "run/run_experiment.h"
#include "tensor/pth.h"
#include "tensor/safetensors.h"
#include "tests/run/make_experiment.h"
#include "tests/support/tensors.h"
#include "train/checkpoint.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

// A model section, with weights that are all different from 0.
std::unique_ptr<LanguageModel> random_model(const std::string& section) {
  const auto experiment =
      resolve_as<Experiment>(parse_yaml("name: test\nmodel: " + section, "test"), experiment_schema()).value;
  auto model = make_language_model(experiment.model.as<LanguageModelParams>());
  model->allocate_uninitialised();
  for (Parameter* const p : model->parameters())
    p->var.value().copy_from(test::normal_tensor(p->shape, p->name, 0.4, DType::f32));
  return model;
}

Tensor logits_of(const LanguageModel& model) {
  return model.logits(test::random_tokens({2, 13}, model.vocabulary(), "tokens"), {}).value();
}

double largest_difference(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_doubles(), y = b.to_doubles();
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::fabs(x[i] - y[i]));
  return largest;
}

struct Generation {
  const char* name;
  const char* version;
  const char* section;  ///< everything that shapes can tell
};

// Widths, heads, ranks and hidden widths differ from each other and from the defaults.
const Generation generations[] = {
    {"rwkv4", "RWKV-4",
     "{layers: 3, width: 24, vocabulary_size: 256, time_mix: {kind: rwkv4, attention_width: 40}, channel_mix: {kind: "
     "rwkv4, "
     "hidden_width: 56}}"},
    {"rwkv4_options", "RWKV-4",
     "{layers: 3, width: 24, vocabulary_size: 256, pre_ffn: {kind: rwkv4, hidden_width: 40}, copy_head: 5, time_mix: "
     "{kind: rwkv4}, channel_mix: {kind: mish_glu, hidden_width: 56}}"},
    {"rwkv4a", "RWKV-4a",
     "{layers: 2, width: 24, vocabulary_size: 256, tiny_attention: {layer: 1, width: 6}, time_mix: {kind: rwkv4}, "
     "channel_mix: {kind: rwkv4}}"},
    {"rwkv4b", "RWKV-4b",
     "{layers: 2, width: 24, vocabulary_size: 256, time_mix: {kind: rwkv4, small_attention: 3}, channel_mix: {kind: "
     "rwkv4}}"},
    {"rwkv50", "RWKV-5.0",
     "{layers: 2, width: 24, vocabulary_size: 256, time_mix: {kind: rwkv5, head_size: 8, decay: per_head, bonus: "
     "per_head_exponential, gate: none}, channel_mix: {kind: rwkv5, hidden_width: 32}}"},
    {"rwkv51", "RWKV-5.1",
     "{layers: 2, width: 24, vocabulary_size: 256, time_mix: {kind: rwkv5, head_size: 6, decay: per_head, bonus: "
     "per_head}, "
     "channel_mix: {kind: rwkv5}}"},
    {"rwkv52", "RWKV-5.2",
     "{layers: 2, width: 24, vocabulary_size: 256, time_mix: {kind: rwkv5, head_size: 4, attention_width: 40}, "
     "channel_mix: "
     "{kind: rwkv5, hidden_width: 88}}"},
    {"rwkv52_one_head", "RWKV-5.2",
     "{layers: 1, width: 24, vocabulary_size: 256, time_mix: {kind: rwkv5, head_size: 24}, channel_mix: {kind: "
     "rwkv5}}"},
    {"rwkv6", "RWKV-6",
     "{layers: 2, width: 24, vocabulary_size: 256, time_mix: {kind: rwkv6, head_size: 6, mix_rank: 5, decay_rank: 7, "
     "learned_state: true}, channel_mix: {kind: rwkv6, hidden_width: 40}}"},
    {"rwkv6a", "RWKV-6 (x060a)",
     "{layers: 2, width: 24, vocabulary_size: 256, time_mix: {kind: rwkv6, head_size: 8, gate: low_rank, gate_rank: "
     "9}, "
     "channel_mix: {kind: rwkv6}}"},
    {"rwkv6b", "RWKV-6 (x060b)",
     "{layers: 2, width: 24, vocabulary_size: 256, time_mix: {kind: rwkv6, head_size: 8, gate: none, normalization: "
     "layer_norm, mix_rank: 3}, channel_mix: {kind: rwkv6}}"},
    {"rwkv7", "RWKV-7",
     "{layers: 3, width: 24, vocabulary_size: 256, time_mix: {kind: rwkv7, head_size: 6, decay_rank: 3, rate_rank: 5, "
     "value_rank: 7, gate_rank: 9}, channel_mix: {kind: rwkv7, hidden_width: 72}}"},
    {"rwkv7_training_code", "RWKV-7",
     "{layers: 2, width: 24, vocabulary_size: 256, time_mix: {kind: rwkv7, head_size: 12, "
     "value_residual_in_first_layer: "
     "true, value_rank: 7}, channel_mix: {kind: rwkv7}}"},
    {"rwkv7_over_rwkv4", "RWKV-7 with the channel mix rwkv4",
     "{layers: 2, width: 24, vocabulary_size: 256, time_mix: {kind: rwkv7, head_size: 12}, channel_mix: {kind: rwkv4, "
     "hidden_width: 40}}"},
    {"rwkv6_over_rwkv7", "RWKV-6 with the channel mix rwkv7",
     "{layers: 2, width: 24, vocabulary_size: 256, time_mix: {kind: rwkv6, head_size: 12}, channel_mix: {kind: rwkv7, "
     "hidden_width: 40}}"},
};

class Generations : public testing::TestWithParam<Generation> {
 protected:
  TemporaryFolder folder_;
};

// The weights alone tell the model: imported from a .pth file, and from a .safetensors file without a word on the
// model, it computes the same bits.
TEST_P(Generations, ImportedWeightsGiveTheSameLogits) {
  const auto model = random_model(GetParam().section);
  const Tensor expected = logits_of(*model);
  write_pth(folder_ / "model.pth", weights_of(*model));
  write_safetensors(folder_ / "model.safetensors", weights_of(*model));
  for (const char* const name : {"model.pth", "model.safetensors"}) {
    SCOPED_TRACE(name);
    const TrainedModel read = load_trained_model(folder_ / name);
    EXPECT_EQ(read.version, GetParam().version);
    EXPECT_TRUE(read.tokenizer.is_bytes());
    EXPECT_TRUE(test::equal_bytes(logits_of(*read.model), expected));
    export_model(read, folder_ / "again.pth");
    EXPECT_TRUE(test::equal_bytes(logits_of(*load_trained_model(folder_ / "again.pth").model), expected));
  }
}

INSTANTIATE_TEST_SUITE_P(Official, Generations, testing::ValuesIn(generations),
                         [](const auto& one) { return std::string(one.param.name); });

class OfficialCheckpoints : public testing::Test {
 protected:
  // A small RWKV-4 after `change` has been at its tensors.
  fs::path changed(const std::function<void(std::vector<NamedTensor>&)>& change) const {
    const auto model = random_model(generations[0].section);
    std::vector<NamedTensor> tensors = weights_of(*model);
    change(tensors);
    write_pth(folder_ / "changed.pth", tensors);
    return folder_ / "changed.pth";
  }
  std::string refusal(const std::function<void(std::vector<NamedTensor>&)>& change) const {
    const fs::path path = changed(change);
    return message_of<DataError>([&] { load_trained_model(path); });
  }
  static Tensor& named(std::vector<NamedTensor>& tensors, const std::string& name) {
    for (NamedTensor& tensor : tensors) {
      if (tensor.name == name) return tensor.tensor;
    }
    throw std::runtime_error("no tensor " + name);
  }
  TemporaryFolder folder_;
};

TEST_F(OfficialCheckpoints, ThePublishedLogitsOfTrainedModelsComeOut) {
  const fs::path folder = fs::path(RWKVLAB_REFERENCE_DIR) / "tiny-trained";
  if (!fs::exists(folder)) GTEST_SKIP() << "there is no " << folder << " (set RWKVLAB_REFERENCE_DIR)";
  const struct {
    const char *file, *version;
    std::vector<std::string> settings;
  } cases[] = {{"tiny-rwkv-4v0-660K", "RWKV-4", {}},
               // This one was trained before the division by 8 was introduced.
               {"tiny-rwkv-5v1-730K", "RWKV-5.0", {"model.time_mix.head_size_divisor=1"}}};
  for (const auto& one : cases) {
    SCOPED_TRACE(one.file);
    const fs::path path = folder / (std::string(one.file) + ".safetensors");
    const TrainedModel trained = load_trained_model(path, {.settings = one.settings});
    EXPECT_EQ(trained.version, one.version);
    EXPECT_THAT(trained.notes, testing::IsEmpty()) << "what was set is not assumed";
    export_model(trained, folder_ / "tiny.pth");
    const TrainedModel again = load_trained_model(folder_ / "tiny.pth", {.settings = one.settings});
    const SafetensorsFile reference(path);
    const Tensor expected = reference.tensor("out.logits_long");
    const Tensor text = reference.tensor("in.tokens_long");
    for (const TrainedModel* const model : {&trained, &again}) {
      const Tensor logits = model->model->logits(text.reshaped({1, text.elements()}), {}).value();
      // What the publisher's own second implementation differs by, ten times.
      EXPECT_LT(largest_difference(logits.reshaped(expected.shape()), expected), 2e-5);
    }
  }
}

TEST_F(OfficialCheckpoints, HalfFormatsAreReadAndWritten) {
  const auto model = random_model(generations[11].section);
  const Tensor expected = logits_of(*model);
  write_pth(folder_ / "model.pth", weights_of(*model));
  const TrainedModel read = load_trained_model(folder_ / "model.pth");
  for (const FloatFormat format : {FloatFormat::bfloat16, FloatFormat::float16}) {
    export_model(read, folder_ / "half.pth", format);
    export_model(read, folder_ / "half.safetensors", format);
    const Tensor logits = logits_of(*load_trained_model(folder_ / "half.pth").model);
    EXPECT_TRUE(test::equal_bytes(logits, logits_of(*load_trained_model(folder_ / "half.safetensors").model)));
    EXPECT_FALSE(test::equal_bytes(logits, expected));
    // Weights move by at most 2^-9 of themselves, logits of the order of 10 by some hundredths.
    EXPECT_LT(largest_difference(logits, expected), 0.5);
    EXPECT_LT(fs::file_size(folder_ / "half.pth"), fs::file_size(folder_ / "model.pth") * 2 / 3);
  }
}

TEST_F(OfficialCheckpoints, ExportedSafetensorsExplainThemselves) {
  const auto model = random_model(generations[0].section);
  write_pth(folder_ / "model.pth", weights_of(*model));
  export_model(load_trained_model(folder_ / "model.pth"), folder_ / "own.safetensors");
  const TrainedModel read = load_trained_model(folder_ / "own.safetensors");
  EXPECT_EQ(read.version, "");
  EXPECT_TRUE(test::equal_bytes(logits_of(*read.model), logits_of(*model)));
  EXPECT_THAT(message_of<ConfigError>([&] { export_model(read, folder_ / "model.bin"); }), HasSubstr("'.bin'"));
}

TEST_F(OfficialCheckpoints, WeightsGoStraightIntoTheParameters) {
  const auto model = random_model(generations[8].section);
  std::int64_t bytes = 0;
  for (const NamedTensor& tensor : weights_of(*model))
    bytes += (static_cast<std::int64_t>(tensor.tensor.bytes()) + 63) / 64 * 64;
  write_pth(folder_ / "model.pth", weights_of(*model), FloatFormat::bfloat16);
  reset_peak_memory();
  const std::int64_t before = memory_use().live;
  const TrainedModel read = load_trained_model(folder_ / "model.pth");
  EXPECT_LE(memory_use().peak - before, bytes);
}

TEST_F(OfficialCheckpoints, WhatIsNoKnownModelIsExplained) {
  using Tensors = std::vector<NamedTensor>;
  EXPECT_THAT(refusal([](Tensors& t) {
                named(t, "head.weight") = Tensor::zeros({250, 24});
              }),
              AllOf(HasSubstr("for 256 tokens"), HasSubstr("head for 250")));
  EXPECT_THAT(refusal([](Tensors& t) {
                std::erase_if(t, [](const NamedTensor& each) { return each.name.starts_with("blocks.1."); });
              }),
              AllOf(HasSubstr("layer 2"), HasSubstr("none of layer 1")));
  EXPECT_THAT(refusal([](Tensors& t) { std::erase_if(t, [](const auto& each) { return each.name == "emb.weight"; }); }),
              HasSubstr("no tensor 'emb.weight'"));
  EXPECT_THAT(refusal([](Tensors& t) {
                for (NamedTensor& each : t)
                  if (const auto at = each.name.find("time_first"); at != std::string::npos)
                    each.name.replace(at, 10, "time_ninth");
              }),
              AllOf(HasSubstr("no version of RWKV that is known (RWKV-4, 5.0"), HasSubstr("time_ninth")));
  EXPECT_THAT(refusal([](Tensors& t) {
                std::erase_if(t, [](const auto& each) { return each.name == "blocks.1.att.key.weight"; });
              }),
              AllOf(HasSubstr("missing (1): blocks.1.att.key.weight"), HasSubstr("this is RWKV-4")));
  EXPECT_THAT(refusal([](Tensors& t) {
                t.push_back({"blocks.2.ffn.extra", Tensor::zeros({3})});
              }),
              HasSubstr("unexpected (1): blocks.2.ffn.extra"));
  EXPECT_THAT(refusal([](Tensors& t) { named(t, "blocks.2.ln1.bias").data<float>()[3] = std::nanf(""); }),
              AllOf(HasSubstr("blocks.2.ln1.bias"), HasSubstr("not finite")));
  EXPECT_THAT(refusal([](Tensors& t) {
                t = {{"rwkv.embeddings.weight", Tensor::zeros({2, 2})}};
              }),
              HasSubstr("Hugging Face"));
  EXPECT_THAT(refusal([](Tensors& t) {
                t = {{"blocks.0.att.time_state", Tensor::zeros({2, 2, 2})}};
              }),
              HasSubstr("state tuning"));
  EXPECT_THAT(refusal([](Tensors& t) {
                named(t, "emb.weight") = named(t, "head.weight") = Tensor::zeros({300, 24});
              }),
              HasSubstr("--tokenizer"));
}

TEST_F(OfficialCheckpoints, AnyPrefixBeforeTheNamesIsFound) {
  const auto path = changed([](std::vector<NamedTensor>& tensors) {
    for (NamedTensor& tensor : tensors) tensor.name = "_forward_module." + tensor.name;
  });
  const auto model = random_model(generations[0].section);
  EXPECT_TRUE(test::equal_bytes(logits_of(*load_trained_model(path).model), logits_of(*model)));
}

TEST_F(OfficialCheckpoints, OfSeveralModelsNoneIsTaken) {
  const auto in_two = [](std::vector<NamedTensor>& tensors, const std::string& first, const std::string& second) {
    const std::vector<NamedTensor> once = tensors;
    for (NamedTensor& tensor : tensors) tensor.name = first + tensor.name;
    for (const NamedTensor& tensor : once) tensors.push_back({second + tensor.name, tensor.tensor});
  };
  EXPECT_THAT(refusal([&](auto& tensors) { in_two(tensors, "ema.", "model."); }),
              AllOf(HasSubstr("2 models"), HasSubstr("ema.emb.weight"), HasSubstr("model.emb.weight")));
  EXPECT_THAT(refusal([&](auto& tensors) { in_two(tensors, "", "average."); }), HasSubstr("average.emb.weight"));
  // An embedding alone is no model, whatever it is called.
  const auto path = changed([](std::vector<NamedTensor>& tensors) {
    for (NamedTensor& tensor : tensors) tensor.name = "model." + tensor.name;
    tensors.push_back({"x.emb.weight", Tensor::zeros({2, 2})});
  });
  EXPECT_TRUE(
      test::equal_bytes(logits_of(*load_trained_model(path).model), logits_of(*random_model(generations[0].section))));
}

TEST_F(OfficialCheckpoints, ATokenizerThatIsTooLargeIsRefused) {
  const auto model = random_model("{layers: 1, width: 8, vocabulary_size: 100}");
  write_pth(folder_ / "small.pth", weights_of(*model));
  EXPECT_THAT(message_of<DataError>([&] { load_trained_model(folder_ / "small.pth"); }), HasSubstr("--tokenizer"));
  EXPECT_THAT(message_of<DataError>([&] { load_trained_model(folder_ / "small.pth", {.tokenizer = "bytes"}); }),
              AllOf(HasSubstr("256 tokens"), HasSubstr("has 100")));
  const TrainedModel read = load_trained_model(folder_ / "small.pth", {.needs_tokenizer = false});
  EXPECT_FALSE(read.has_tokenizer);
}

TEST_F(OfficialCheckpoints, AnUnusualTokenizerIsNoted) {
  const auto notes = [&](std::int64_t vocabulary) {
    write_pth(folder_ / "sized.pth",
              weights_of(*random_model("{layers: 1, width: 2, vocabulary_size: " + std::to_string(vocabulary) + "}")));
    return load_trained_model(folder_ / "sized.pth", {.tokenizer = "bytes"}).notes;
  };
  EXPECT_THAT(notes(65536), testing::Contains(AllOf(HasSubstr("kind bytes"), HasSubstr("World vocabulary"))));
  EXPECT_THAT(notes(50277), testing::Contains(HasSubstr("20B_tokenizer.json")));
  EXPECT_THAT(notes(256), testing::IsEmpty());
  EXPECT_THAT(notes(300), testing::IsEmpty());
  // The World vocabulary has 65536 tokens, too many for these.
  EXPECT_EQ(usual_tokenizer(65529), "");
  EXPECT_EQ(usual_tokenizer(65530), "");
}

TEST_F(OfficialCheckpoints, ATrainingStartsFromThem) {
  const auto model = random_model("{layers: 2, width: 8, vocabulary_size: 256}");
  write_pth(folder_ / "start.pth", weights_of(*model), FloatFormat::bfloat16);
  const auto start = load_trained_model(folder_ / "start.pth");
  // Too small a rate to move a weight: what the run writes is what it started from.
  const auto file = make_small_experiment(folder_);
  const LoadedExperiment loaded = load_experiment(
      file, {"train.start_from=" + (folder_ / "start.pth").string(), "train.steps=1", "train.learning_rate=1e-30"});
  RunOptions options;
  options.folder = folder_ / "run";
  options.output = -1;
  run_experiment(loaded, options);
  EXPECT_TRUE(test::equal_bytes(logits_of(*load_trained_model(folder_ / "run").model), logits_of(*start.model)));

  const LoadedExperiment other =
      load_experiment(file, {"train.start_from=" + (folder_ / "start.pth").string(), "model.width=16"});
  EXPECT_THAT(
      message_of<DataError>([&] { build_experiment(other); }),
      AllOf(HasSubstr("train.start_from"), HasSubstr("emb.weight is [256, 8], not [256, 16]"), HasSubstr("describe")));
  EXPECT_THROW(load_experiment(file, {"train.start_from=nowhere.pth"}), DataError);
}

// Official files do not say what tokenizer they had, but 65,536 tokens are World's.
TEST_F(OfficialCheckpoints, ATrainingOnOtherTokensThanTheUsualIsRefused) {
  write_pth(folder_ / "world.pth", weights_of(*random_model("{layers: 2, width: 8, vocabulary_size: 65536}")));
  const auto file = make_small_experiment(folder_);
  std::vector<std::string> settings = {"train.start_from=" + (folder_ / "world.pth").string(),
                                       "model.vocabulary_size=65536"};
  EXPECT_THAT(message_of<DataError>([&] { build_experiment(load_experiment(file, settings)); }),
              AllOf(HasSubstr("World vocabulary"), HasSubstr("have bytes"), HasSubstr("start_with_other_tokenizer")));
  settings.emplace_back("train.start_with_other_tokenizer=true");
  EXPECT_NO_THROW(build_experiment(load_experiment(file, settings)));
}

TEST_F(OfficialCheckpoints, ALearnedInitialStateComesBack) {
  for (const std::string kind : {"rwkv4", "rwkv5", "rwkv6", "rwkv7"}) {
    SCOPED_TRACE(kind);
    const std::string heads = kind == "rwkv4" ? "" : ", head_size: 8";
    const auto model =
        random_model("{layers: 2, width: 16, vocabulary_size: 256, learned_state: true, time_mix: {kind: " + kind +
                     heads + "}, channel_mix: {kind: " + kind + "}}");
    write_pth(folder_ / "state.pth", weights_of(*model));
    const TrainedModel read = load_trained_model(folder_ / "state.pth");
    EXPECT_THAT(read.version, HasSubstr("with a learned initial state"));
    EXPECT_THAT(read.notes, testing::Contains(HasSubstr("official code does not read")));
    EXPECT_TRUE(test::equal_bytes(logits_of(*read.model), logits_of(*model)));
  }
}

// What was trained here is told by its tensors, and its weights may be stored as they are read.
TEST_F(OfficialCheckpoints, OwnModelsAreWhatTheirTensorsAre) {
  const auto version = [&](const std::string& section) {
    write_safetensors(folder_ / "own.safetensors", weights_of(*random_model(section)));
    return official_version(open_tensor_file(folder_ / "own.safetensors"));
  };
  EXPECT_EQ(version("{layers: 2, width: 8, vocabulary_size: 40}"), "RWKV-4");
  EXPECT_EQ(version("{layers: 2, width: 8, vocabulary_size: 40, time_mix: {kind: lstm}}"), "");
  // The first layer alone is one of RWKV-7's.
  EXPECT_EQ(version("{layers: 2, width: 8, vocabulary_size: 40, pattern: [{time_mix: {kind: rwkv7, head_size: 4}}, "
                    "{time_mix: {kind: rwkv4}}]}"),
            "");
}

TEST_F(OfficialCheckpoints, StoredWeightsAreThoseOfTheFile) {
  const auto model = random_model(generations[11].section);
  write_pth(folder_ / "model.pth", weights_of(*model), FloatFormat::bfloat16);
  const TrainedModel whole = load_trained_model(folder_ / "model.pth");
  const TrainedModel stored = load_trained_model(folder_ / "model.pth", {.format = WeightFormat::bfloat16});
  EXPECT_EQ(stored.fingerprint, weights_fingerprint(*whole.model));
  const StoredWeights::Scope scope(*stored.stored);
  // The file's numbers fit bfloat16, so that only the order of sums differs, of some dozen terms.
  EXPECT_LT(largest_difference(logits_of(*stored.model), logits_of(*whole.model)), 1e-4);

  const fs::path spoilt = changed(
      [](auto& tensors) { named(tensors, "blocks.1.att.key.weight").template data<float>()[3] = std::nanf(""); });
  EXPECT_THAT(message_of<DataError>([&] { load_trained_model(spoilt, {.format = WeightFormat::int8}); }),
              AllOf(HasSubstr("blocks.1.att.key.weight"), HasSubstr("diverged")));
}

}  // namespace
}  // namespace rwkvlab
