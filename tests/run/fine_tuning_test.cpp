// Fine-tuning from an experiment file to a model that is loaded, exported and continued.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "models/generator.h"
#include "models/weight_format.h"
#include "run/available_memory.h"
#include "run/describe.h"
#include "run/export_model.h"
#include "run/run_experiment.h"
#include "tests/run/make_experiment.h"
#include "tests/support/tensors.h"
#include "train/checkpoint.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

const LoadModelOptions no_text = {.needs_tokenizer = false};

std::vector<double> logits_of(const TrainedModel& trained) {
  return trained.model->logits(test::random_tokens({2, 13}, trained.model->vocabulary(), "tokens"), {})
      .value()
      .to_doubles();
}

class FineTuning : public testing::Test {
 protected:
  FineTuning() { train(make_small_experiment(folder_), "base"); }

  static void train(const fs::path& file, const fs::path& out, const std::vector<std::string>& settings = {}) {
    run_experiment(load_experiment(file, settings), {.folder = file.parent_path() / out, .output = -1});
  }
  // The experiment of the base, tuned.
  fs::path tuning(const std::string& tune, const std::string& model = "") const {
    return folder_.make("tune.yaml",
                        "model: {kind: language_model, layers: 2, width: 8" + model +
                            "}\ndata: {kind: text, files: [text.txt]}\ntrain: {steps: 6, batch: 2, context: 16, "
                            "learning_rate: 0.01, schedule: {kind: constant}, start_from: base, tune: " +
                            tune + "}\n");
  }

  TemporaryFolder folder_;
};

TEST_F(FineTuning, AdaptersAreMergedOrKeptApart) {
  train(tuning("{kind: lora, rank: 2, matrices: ['blocks.*.weight', head.weight]}"), "lora");
  const TrainedModel tuned = load_trained_model(folder_ / "lora", no_text);
  const std::vector<double> logits = logits_of(tuned);
  EXPECT_NE(logits, logits_of(load_trained_model(folder_ / "base", no_text)));

  export_model(tuned, folder_ / "merged.safetensors");
  export_tuning(folder_ / "lora", folder_ / "apart.safetensors");
  export_tuning(folder_ / "lora", folder_ / "apart.pth");
  EXPECT_LT(fs::file_size(folder_ / "apart.pth"), fs::file_size(folder_ / "merged.safetensors"));
  EXPECT_TRUE(open_tensor_file(folder_ / "apart.pth").contains("blocks.1.ffn.key.weight.lora_B"));
  EXPECT_EQ(logits_of(load_trained_model(folder_ / "apart.safetensors", no_text)), logits);
  EXPECT_THAT(message_of<DataError>([&] { export_tuning(folder_ / "base", folder_ / "x.pth"); }),
              HasSubstr("holds a whole model"));

  // The merged file needs no base; what was trained alone does, and says how to name it.
  fs::rename(folder_ / "base", folder_ / "moved");
  EXPECT_EQ(logits_of(load_trained_model(folder_ / "merged.safetensors", no_text)), logits);
  EXPECT_THAT(message_of<DataError>([&] { load_trained_model(folder_ / "lora", no_text); }),
              AllOf(HasSubstr("base"), HasSubstr("--set train.start_from=FILE")));
  LoadModelOptions named = no_text;
  named.settings = {"train.start_from=" + (folder_ / "moved").string()};
  EXPECT_EQ(logits_of(load_trained_model(folder_ / "lora", named)), logits);
  named.settings = {"train.start_from=" + (folder_ / "merged.safetensors").string()};
  EXPECT_THAT(message_of<DataError>([&] { load_trained_model(folder_ / "lora", named); }), HasSubstr("other weights"));
}

TEST_F(FineTuning, ARunIsResumedToTheSameEnd) {
  const fs::path file = tuning("{kind: lora, rank: 2}");
  train(file, "whole");
  train(file, "parts", {"train.steps=3"});
  run_experiment(load_experiment(file), {.folder = folder_ / "parts", .resume = true, .output = -1});
  EXPECT_EQ(logits_of(load_trained_model(folder_ / "parts", no_text)),
            logits_of(load_trained_model(folder_ / "whole", no_text)));
}

// A run of a version that knew no fine-tuning: its files lack the keys.
TEST_F(FineTuning, ARunFromBeforeNewKeysIsResumed) {
  const fs::path file = make_small_experiment(folder_), run = folder_ / "old";
  train(file, "old", {"train.steps=3"});
  std::string text = read_text(run / "resolved.yaml");
  for (const std::string key : {"tune", "start_from", "start_with_other_tokenizer"}) {
    const std::size_t begin = text.find("\n  " + key + ":");
    ASSERT_NE(begin, std::string::npos) << key << "\n" << text;
    std::size_t end = text.find('\n', begin + 1);
    while (text.compare(end + 1, 4, "    ") == 0) end = text.find('\n', end + 1);  // What is inside of it.
    text.erase(begin, end - begin);
  }
  folder_.make("old/resolved.yaml", text);
  EXPECT_NO_THROW(run_experiment(load_experiment(file), {.folder = run, .resume = true, .output = -1}));
  EXPECT_EQ(logits_of(load_trained_model(run, no_text)), logits_of(load_trained_model(folder_ / "base", no_text)));
  folder_.make("old/resolved.yaml", text);
  EXPECT_THAT(message_of<ConfigError>([&] {
                run_experiment(load_experiment(file, {"train.start_from=" + (folder_ / "base").string()}),
                               {.folder = run, .resume = true, .output = -1});
              }),
              HasSubstr("train.start_from"));
}

// Characters that the text of the base lacks make another tokenizer of as many tokens.
TEST_F(FineTuning, WeightsOfAnotherTokenizerAreRefused) {
  folder_.make("abc.txt", std::string(400, 'a') + std::string(400, 'b') + std::string(400, 'c'));
  folder_.make("abd.txt", std::string(400, 'a') + std::string(400, 'b') + std::string(400, 'd'));
  const auto file = [&](const std::string& text, const std::string& more) {
    return folder_.make("characters.yaml",
                        "model: {kind: language_model, layers: 1, width: 8}\ndata: {kind: text, "
                        "files: [" +
                            text +
                            "], tokens: characters}\ntrain: {steps: 2, batch: 2, "
                            "context: 16" +
                            more + "}\n");
  };
  train(file("abc.txt", ""), "abc");
  EXPECT_NO_THROW(build_experiment(load_experiment(file("abc.txt", ", start_from: abc"))));
  EXPECT_THAT(message_of<DataError>([&] { build_experiment(load_experiment(file("abd.txt", ", start_from: abc"))); }),
              AllOf(HasSubstr("another tokenizer"), HasSubstr("start_with_other_tokenizer")));
  EXPECT_NO_THROW(
      build_experiment(load_experiment(file("abd.txt", ", start_from: abc, start_with_other_tokenizer: true"))));
}

TEST_F(FineTuning, ATunedStateIsWhereGenerationStarts) {
  train(tuning("{kind: state}", ", learned_state: true"), "state");
  const TrainedModel tuned = load_trained_model(folder_ / "state", no_text);
  export_initial_state(folder_ / "state", no_text, folder_ / "start.safetensors");
  const TrainedModel base = load_trained_model(folder_ / "base", no_text);
  Generator with_state(*base.model), from_start(*tuned.model), plain(*base.model);
  with_state.set_state(load_state(*base.model, weights_fingerprint(*base.model), folder_ / "start.safetensors"));
  EXPECT_THROW(with_state.logits(0), DataError);
  const std::vector<std::int64_t> prompt = {46, 49, 43, 50};
  std::vector<std::vector<float>> logits;
  for (Generator* const generator : {&with_state, &from_start, &plain}) {
    generator->read(prompt);
    logits.emplace_back(generator->logits(0).begin(), generator->logits(0).end());
  }
  EXPECT_EQ(logits[0], logits[1]);
  EXPECT_NE(logits[0], logits[2]);
  EXPECT_THAT(message_of<DataError>([&] { export_initial_state(folder_ / "base", no_text, folder_ / "x.st"); }),
              HasSubstr("was not trained"));
}

TEST_F(FineTuning, TheOfficialTimeStateIsTunedAlone) {
  const std::string mixes = ", time_mix: {kind: rwkv6, head_size: 4}, channel_mix: {kind: rwkv6}";
  const auto file = [&](const std::string& more, const std::string& model) {
    return folder_.make("six.yaml", "model: {kind: language_model, layers: 2, width: 8" + model +
                                        "}\ndata: {kind: text, files: [text.txt]}\ntrain: {steps: 4, batch: 2, "
                                        "context: 16, schedule: {kind: constant}" +
                                        more + "}\n");
  };
  train(file("", mixes), "six");
  train(file(", start_from: six, tune: {kind: state}",
             ", time_mix: {kind: rwkv6, head_size: 4, learned_state: true}, channel_mix: {kind: rwkv6}"),
        "official");
  const TensorFile stored = open_tensor_file(weights_file(folder_ / "official"));
  EXPECT_EQ(stored.names(), (std::vector<std::string>{"blocks.0.att.time_state", "blocks.1.att.time_state"}));
}

TEST_F(FineTuning, WhatIsMissingIsSaidBeforeTheRun) {
  const fs::path file = tuning("{kind: lora, matrices: [blocks.0.att.keys.weight]}");
  EXPECT_THAT(message_of<ConfigError>([&] { build_experiment(load_experiment(file)); }),
              AllOf(HasSubstr("train.tune.matrices"), HasSubstr("blocks.0.att.key.weight")));
  const fs::path nothing =
      folder_.make("nothing.yaml", "data: {kind: text, files: [text.txt]}\ntrain: {tune: {kind: lora}}\n");
  EXPECT_THAT(message_of<ConfigError>([&] { load_experiment(nothing); }), HasSubstr("train.start_from"));
}

TEST_F(FineTuning, DescribeCountsWhatIsTrained) {
  const LoadedExperiment loaded =
      load_experiment(tuning("{kind: lora, rank: 2, matrices: ['blocks.*.att.key.weight']}"));
  const auto model = build_model(loaded);
  const ModelDescription tuned = describe_model(*model, describe_options(*model, loaded.experiment.train));
  EXPECT_EQ(tuned.trained_parameters, 2 * 2 * (8 + 8));
  EXPECT_EQ(tuned.memory.optimizer, 4 * 2 * tuned.trained_parameters);
  EXPECT_THAT(describe_text(tuned), HasSubstr("trained 64"));
  const ModelDescription full = describe_model(*model, describe_options(*model, [&] {
    TrainParams train = loaded.experiment.train;
    train.tune = {};
    return train;
  }()));
  EXPECT_LT(tuned.memory.peak, full.memory.peak);
}

}  // namespace
}  // namespace rwkvlab
