#include "run/experiment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "base/error.h"
#include "models/language_model.h"
#include "tests/run/make_experiment.h"

namespace rwkvlab {
namespace {
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

class ExperimentFile : public testing::Test {
 protected:
  std::filesystem::path write(const std::string& yaml) const { return folder_.make("experiment/bad.yaml", yaml); }
  std::string problem(const std::string& yaml) const {
    const auto file = write(yaml);
    std::string message = message_of<ConfigError>([&] { build_experiment(load_experiment(file)); });
    // Messages name the file as it was given; the folder of this test is no part of the expectation.
    const std::string prefix = file.parent_path().string() + "/";
    for (std::size_t at; (at = message.find(prefix)) != std::string::npos;) message.erase(at, prefix.size());
    // A model that learns a key is no other message.
    return std::regex_replace(message, std::regex("(Other keys: layers)[^\n]*"), "$1, ...");
  }
  TemporaryFolder folder_;
};

TEST_F(ExperimentFile, AllProblemsAtOnceInOrder) {
  EXPECT_EQ(problem("model: {kind: language_model, widht: 64}\n"
                    "data: {kind: text, files: [none.txt]}\n"
                    "train: {steps: many, schedule: {kind: cosin}}\n"
                    "log: {probes: [{match: x, as: graph}]}\n"),
            "bad.yaml:1:31: error: unknown key 'widht' in block 'language_model'\n"
            "    1 | model: {kind: language_model, widht: 64}\n"
            "      |                               ^~~~~\n"
            "  did you mean 'width' (integer, 1 to 65536, in channels, default 256)?  Other keys: layers, ...\n"
            "bad.yaml:2:28: error: no such file: 'none.txt'\n"
            "    2 | data: {kind: text, files: [none.txt]}\n"
            "      |                            ^~~~~~~~\n"
            "bad.yaml:3:16: error: 'steps' must be an integer, found string 'many'\n"
            "    3 | train: {steps: many, schedule: {kind: cosin}}\n"
            "      |                ^~~~\n"
            "  'steps' is: optimiser steps\n"
            "bad.yaml:3:39: error: unknown kind 'cosin' of schedule\n"
            "    3 | train: {steps: many, schedule: {kind: cosin}}\n"
            "      |                                       ^~~~~\n"
            "  did you mean 'cosine'?  Kinds: constant, cosine, exponential, linear, rwkv\n"
            "bad.yaml:4:31: error: 'as' must be one of raw, histogram, statistics, found 'graph'\n"
            "    4 | log: {probes: [{match: x, as: graph}]}\n"
            "      |                               ^~~~~\n"
            "  'as' is: form of the record");
}

TEST_F(ExperimentFile, WhatOnlyTheBuiltModelKnows) {
  folder_.make("experiment/text.txt", small_text());
  const std::string message = problem(
      "model: {layers: 1, width: 8}\n"
      "data: {kind: text, files: [text.txt]}\n"
      "train: {context: 16, parameter_groups: [{match: \"blocks.*.att.time_decy\"}]}\n"
      "log: {probes: [{match: \"blocks.*.att.wvk\"}]}\n");
  EXPECT_THAT(message, HasSubstr("bad.yaml:3:40: error: parameter_groups: no parameter matches"));
  EXPECT_THAT(message, HasSubstr("bad.yaml:4:24: error: 'blocks.*.att.wvk' matches no probe of this model"));
  EXPECT_THAT(message, HasSubstr("did you mean 'blocks.*.att.wkv'?"));
}

TEST_F(ExperimentFile, ImpossibleCombinationsAreFoundBeforeAnyWork) {
  folder_.make("experiment/text.txt", small_text());
  EXPECT_THAT(problem("model: {vocabulary_size: 100, width: 8}\ndata: {kind: text, files: [text.txt]}\n"
                      "train: {context: 16}\n"),
              AllOf(HasSubstr("bad.yaml:1:8: error:"), HasSubstr("vocabulary_size is 100")));
  EXPECT_THAT(problem("model: {width: 8}\ndata: {kind: text, files: [text.txt]}\n"
                      "train: {context: 16, objective: {kind: language_modelling, carry_state: true}}\n"
                      "name: a/b\n"),
              HasSubstr("bad.yaml:4:7: error: 'name' must be usable as the name of a folder"));
  EXPECT_THAT(problem("model: {width: 8, vocabulary_size: 10}\n"), HasSubstr("has no 'data'"));
}

TEST_F(ExperimentFile, RowsThatAreTooLongForTheModelAreFoundBeforeAnyWork) {
  folder_.make("experiment/text.txt", small_text());
  const std::string data = "data: {kind: text, files: [text.txt]}\n";
  EXPECT_THAT(
      problem("model: {layers: 1, width: 8, positions: learned, max_length: 8}\n" + data + "train: {context: 16}\n"),
      AllOf(HasSubstr("bad.yaml:3:18: error: train.context"), HasSubstr("set model.max_length: 16")));
  EXPECT_THAT(problem("model: {layers: 1, width: 8, time_mix: {kind: aft_full, max_length: 16}}\n" + data +
                      "train: {context: 16}\neval: {context: 32}\n"),
              AllOf(HasSubstr("bad.yaml:4:17: error: eval.context"), HasSubstr("time_mix.max_length")));
  EXPECT_THAT(problem("model: {layers: 1, width: 8, positions: learned, max_length: 8}\n"
                      "data: {kind: copying, symbols: 3, train: [{count: 2}], eval: [{count: 2}, {count: 5}]}\n"
                      "train: {context: 4}\n"),
              AllOf(HasSubstr("bad.yaml:2:7: error: data"), HasSubstr("of the set 'count_5'")));
}

TEST_F(ExperimentFile, MissingDataAloneIsADataError) {
  folder_.make("experiment/texts.txt", "x");
  const auto file = write("data: {kind: text, files: [text.txt]}\n");
  EXPECT_THAT(message_of<DataError>([&] { load_experiment(file); }),
              AllOf(HasSubstr("bad.yaml:1:28: error: no such file"), HasSubstr("texts.txt'?")));
  const auto pattern = write("data: {kind: text, files: [\"*.csv\"]}\n");
  EXPECT_THAT(message_of<DataError>([&] { load_experiment(pattern); }), HasSubstr("bad.yaml:1:28: error:"));
}

TEST_F(ExperimentFile, ATextShorterThanTheContextIsADataErrorWithAPosition) {
  folder_.make("experiment/text.txt", "short");
  const auto file = write("data: {kind: text, files: [text.txt]}\ntrain: {context: 64}\n");
  EXPECT_THAT(message_of<DataError>([&] { build_experiment(load_experiment(file)); }), HasSubstr("bad.yaml:1:7"));
}

TEST_F(ExperimentFile, PathsStartAtTheFileThatNamesThem) {
  folder_.make("pieces/data/a.txt", small_text());
  folder_.make("pieces/data.yaml", "data: {kind: text, files: [\"data/*.txt\"], exclude: [\"data/b*\"]}\n");
  const auto file = folder_.make("runs/one/experiment.yaml", "extends: ../../pieces/data.yaml\n");
  const LoadedExperiment loaded = load_experiment(file);
  EXPECT_EQ(loaded.tree.find_path("data.files.0")->string(), (folder_.path() / "pieces/data/*.txt").string());
  EXPECT_EQ(loaded.tree.find_path("data.exclude.0")->string(), (folder_.path() / "pieces/data/b*").string());
  EXPECT_EQ(loaded.experiment.name, "one");
}

TEST_F(ExperimentFile, SettingsWinAndTheirPathsStartHere) {
  const auto file = make_small_experiment(folder_);
  const LoadedExperiment loaded = load_experiment(file, {"train.steps=7", "name=other", "model.width=16"});
  EXPECT_EQ(loaded.experiment.train.steps, 7);
  EXPECT_EQ(loaded.experiment.name, "other");
  EXPECT_EQ(loaded.experiment.model.as<LanguageModelParams>().width, 16);
  EXPECT_EQ(loaded.tree.find_path("train.steps")->place().short_text(), "--set train.steps=7");
  const std::string message =
      message_of<DataError>([&] { load_experiment(file, {"data.files=[surely-not-here.txt]"}); });
  EXPECT_THAT(message, HasSubstr((std::filesystem::current_path() / "surely-not-here.txt").string()));
}

TEST_F(ExperimentFile, ResolvedTextIsTheSameExperiment) {
  const LoadedExperiment loaded = load_experiment(make_small_experiment(folder_));
  const auto again = folder_.make("elsewhere/resolved.yaml", loaded.text());
  EXPECT_EQ(load_experiment(again).tree, loaded.tree);
  EXPECT_EQ(loaded.experiment.name, "small");
}

TEST_F(ExperimentFile, ProbesAreListedWithoutMemory) {
  const LoadedExperiment loaded = load_experiment(make_small_experiment(folder_));
  const auto model = build_model(loaded);
  std::vector<std::string> paths;
  for (const ProbeSite& site : list_probes(*model, 2, 16)) {
    paths.push_back(site.path);
    if (site.path == "blocks.1.att.wkv") {
      EXPECT_EQ(site.shape, (Shape{2, 16, 8}));
    }
  }
  EXPECT_THAT(paths, AllOf(Contains("blocks.0.att.wkv"), Contains("blocks.1.output"), Contains("head.output")));
  EXPECT_FALSE(model->parameters().front()->var.defined());
}

// Every file under configs/ can be extended: it is valid as far as it goes.
TEST(Configs, AllAreValid) {
  int count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(RWKVLAB_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".yaml") continue;
    EXPECT_NO_THROW(load_experiment(entry.path())) << entry.path();
    ++count;
  }
  EXPECT_GE(count, 10);
}

TEST(Configs, QuickstartIsReadyToRun) {
  const BuiltExperiment built =
      build_experiment(load_experiment(RWKVLAB_SOURCE_DIR "/experiments/quickstart/experiment.yaml"));
  EXPECT_GT(token_data(*built.data).training_tokens(), 500'000);
  EXPECT_TRUE(built.objective->can_evaluate());
}

}  // namespace
}  // namespace rwkvlab
