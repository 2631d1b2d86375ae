// Weights out of the program and in again, by the real program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

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

TEST_F(Checkpoints, WrongOnesAreRefused) {
  folder_.make("no.pth", "PK\x03\x04 and nothing");
  Finished done = program({"describe", "no.pth"});
  EXPECT_EQ(done.code, 3);
  EXPECT_THAT(done.error, HasSubstr("cut short"));
  EXPECT_EQ(program({"export", "no.pth", "-o", "x.pth"}).code, 3);
  EXPECT_EQ(program({"export", "nowhere", "-o", "x.pth"}).code, 3);
}

}  // namespace
}  // namespace rwkvlab
