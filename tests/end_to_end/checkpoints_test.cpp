// Weights out of the program and in again, by the real program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tensor/safetensors.h"
#include "tests/end_to_end/experiment.h"

namespace rwkvlab {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

using Checkpoints = Program;

TEST_F(Checkpoints, WhatIsTrainedHereGoesOutAndTrainsOn) {
  ASSERT_EQ(train("first").code, 0);
  Finished done = program({"export", "first", "-o", "first.pth", "--dtype", "bfloat16"});
  ASSERT_EQ(done.code, 0) << done.error;
  EXPECT_THAT(done.out, AllOf(HasSubstr("first.pth: RWKV-4"), HasSubstr("bfloat16")));

  done = program({"describe", "first.pth", "--json", "--tensors", "--check"});
  ASSERT_EQ(done.code, 0) << done.error;
  const auto json = nlohmann::json::parse(done.out);
  EXPECT_EQ(json["checkpoint"]["version"], "RWKV-4");
  EXPECT_EQ(json["checkpoint"]["parameters"], json["parameters"]);
  EXPECT_EQ(json["checkpoint"]["not_finite"].size(), 0U);
  EXPECT_EQ(json["checkpoint"]["tensors"][0]["dtype"], "BF16");

  // The described model section starts from the exported weights: the loss goes on where it was.
  done = program({"describe", "first.pth", "--yaml"});
  ASSERT_EQ(done.code, 0) << done.error;
  folder_.make("model.yaml", done.out);
  folder_.make("second.yaml",
               "extends: model.yaml\ndata: {kind: text, files: [text.txt]}\n"
               "train: {start_from: first.pth, steps: 1, batch: 2, context: 32, learning_rate: 1.0e-20}\n"
               "eval: {batches: 5}\n");
  ASSERT_EQ(program({"run", "second.yaml", "--no-figures", "--out", "second"}).code, 0);
  done = program({"table", "first", "second", "--metric", "eval/loss", "--format", "json", "--show", "runs"});
  ASSERT_EQ(done.code, 0) << done.error;
  const auto cells = nlohmann::json::parse(done.out)["cells"];
  ASSERT_EQ(cells.size(), 2U);
  // The weights were rounded to bfloat16 on the way.
  EXPECT_NEAR(cells[0]["mean"], cells[1]["mean"], 0.02);

  done = program({"run", "second.yaml", "--no-figures", "--out", "third", "--set", "model.width=8"});
  EXPECT_EQ(done.code, 3);
  EXPECT_THAT(done.error, AllOf(HasSubstr("second.yaml:3"), HasSubstr("emb.weight is"), HasSubstr("--yaml")));

  EXPECT_EQ(program({"plot", "decay", "first.pth", "-o", "decay.svg"}).code, 0);
  EXPECT_THAT(file("decay.svg"), HasSubstr("<svg"));
  EXPECT_THAT(program({"describe", "first"}).out, HasSubstr("stored with the weights"));
}

TEST_F(Checkpoints, StandForTheRunThatTheyLieIn) {
  // No decays are recorded, but the checkpoint has them.
  ASSERT_EQ(train("run", {"--set", "log.decays_every=0", "--set", "train.steps=10"}).code, 0);
  const std::string checkpoint = "run/checkpoints/step-00000010";
  for (const std::string& source : {std::string("run"), checkpoint, checkpoint + "/model.safetensors"}) {
    SCOPED_TRACE(source);
    for (const std::string what : {"decay", "loss", "curves"}) {
      std::vector<std::string> arguments = {"plot", what, source, "-o", "figure.svg"};
      if (what == "curves") arguments.insert(arguments.end(), {"--metric", "eval/loss"});
      const Finished done = program(arguments);
      EXPECT_EQ(done.code, 0) << what << ": " << done.error;
    }
    const Finished table = program({"table", source, "--metric", "eval/loss"});
    EXPECT_EQ(table.code, 0) << table.error;
  }
  ASSERT_EQ(program({"export", "run", "-o", "run.pth"}).code, 0);
  for (const std::string what : {"loss", "positions"}) {
    const Finished done = program({"plot", what, "run.pth", "-o", "figure.svg"});
    EXPECT_EQ(done.code, 3);
    EXPECT_THAT(done.error, HasSubstr("holds weights and no record of their training"));
  }
  EXPECT_THAT(program({"describe", "run"}).out,
              AllOf(HasSubstr("RWKV-4: language_model"), HasSubstr("10 steps, as 'small'"), HasSubstr("all finite")));
  const Finished lost = program({"export", "run", "-o", "nowhere/run.pth"});
  EXPECT_EQ(lost.code, 1);
  EXPECT_THAT(lost.error, HasSubstr("no folder 'nowhere'"));

  // Adapters alone have the decays of the weights beside them.
  ASSERT_EQ(train("tuned", {"--set", "train.start_from=run.pth", "--set", "train.tune={kind: lora, rank: 2}", "--set",
                            "train.steps=1"})
                .code,
            0);
  ASSERT_EQ(program({"export", "tuned", "-o", "adapters.safetensors", "--adapters", "separate"}).code, 0);
  const Finished decay = program({"plot", "decay", "adapters.safetensors", "-o", "figure.svg"});
  EXPECT_EQ(decay.code, 0) << decay.error;
}

TEST_F(Checkpoints, WrongOnesAreRefused) {
  folder_.make("no.pth", "PK\x03\x04 and nothing");
  Finished done = program({"describe", "no.pth"});
  EXPECT_EQ(done.code, 3);
  EXPECT_THAT(done.error, HasSubstr("cut short"));
  EXPECT_EQ(program({"export", "no.pth", "-o", "x.pth"}).code, 3);
  EXPECT_EQ(program({"export", "nowhere", "-o", "x.pth"}).code, 3);

  ASSERT_EQ(train("run", {"--set", "train.steps=1"}).code, 0);
  ASSERT_EQ(program({"export", "run", "-o", "nan.safetensors"}).code, 0);
  {
    const SafetensorsFile whole(folder_ / "nan.safetensors");
    std::vector<NamedTensor> tensors;
    for (const std::string& name : whole.names()) tensors.push_back({name, whole.tensor(name)});
    for (const NamedTensor& each : tensors) {
      if (each.name == "blocks.1.ffn.key.weight") each.tensor.data<float>()[5] = std::nanf("");
    }
    write_safetensors(folder_ / "nan.safetensors", tensors);
  }
  done = program({"describe", "nan.safetensors"});
  EXPECT_EQ(done.code, 3);
  EXPECT_THAT(done.out, HasSubstr("not finite in blocks.1.ffn.key.weight"));
}

}  // namespace
}  // namespace rwkvlab
