// Tables and figures over runs, by the real program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/end_to_end/experiment.h"

namespace rwkvlab {
namespace {

using ::testing::HasSubstr;

using Tables = Program;

TEST_F(Tables, SeedsOfOneExperimentAreOneRow) {
  for (const char* const seed : {"1", "2"}) {
    ASSERT_EQ(train(std::string("seed") + seed, {"--set", std::string("seed=") + seed}).code, 0);
  }
  ASSERT_EQ(train("fast", {"--set", "train.learning_rate=0.02"}).code, 0);
  Finished table = program({"table", "seed1", "seed2", "fast", "--metric", "eval/loss,eval/accuracy", "--show",
                            "parameters,runs", "--format", "json"});
  ASSERT_EQ(table.code, 0) << table.error;
  const auto json = nlohmann::json::parse(table.out);
  ASSERT_EQ(json["cells"].size(), 4U);
  const auto& cell = json["cells"][0];
  EXPECT_EQ(cell["n"], 2);
  const double a = cell["runs"][0]["value"], b = cell["runs"][1]["value"];
  EXPECT_NEAR(cell["mean"], (a + b) / 2, 1e-12);  // Rounding of a sum.
  EXPECT_NEAR(cell["std"], std::abs(a - b) / std::sqrt(2.0), 1e-12);
  EXPECT_EQ(cell["runs"][1]["run_file"], "seed2/run.h5");
  EXPECT_GT(cell["parameters"], 0);

  table = program({"table", "seed1", "seed2", "fast", "-o", "table.md", "--format", "markdown"});
  EXPECT_EQ(table.code, 0) << table.error;
  EXPECT_THAT(file("table.md"), HasSubstr("| train.learning_rate |"));
  table = program({"table", "seed1", "--metric", "eval/los"});
  EXPECT_EQ(table.code, 2);
  EXPECT_THAT(table.error, HasSubstr("did you mean 'eval/loss'"));
  EXPECT_EQ(program({"table", "nothing"}).code, 3);

  EXPECT_EQ(program({"plot", "curves", "seed1", "seed2", "fast", "--metric", "train/loss", "-o", "curves.svg"}).code,
            0);
  EXPECT_EQ(program({"plot", "accuracy", "seed1", "seed2", "fast", "--x", "train.learning_rate", "--log-x", "-o",
                     "rates.svg"})
                .code,
            0);
  EXPECT_THAT(file("curves.svg"), HasSubstr("<svg"));
  EXPECT_THAT(file("rates.svg"), HasSubstr("<svg"));
  const Finished decay = program({"plot", "decay", "seed1", "--over-text", "-o", "decay.svg"});
  EXPECT_EQ(decay.code, 3);  // RWKV-4's decays are parameters.
  EXPECT_THAT(decay.error, HasSubstr("without a text"));
}

TEST_F(Tables, DecaysOverAText) {
  ASSERT_EQ(train("finch", {"--set", "model.time_mix={kind: rwkv6, head_size: 8}", "--set", "log.probes=[]"}).code, 0);
  EXPECT_EQ(program({"plot", "decay", "finch", "--over-text", "-o", "decay.svg"}).code, 0);
  EXPECT_EQ(program({"plot", "decay", "finch", "--text", "text.txt", "--heatmap", "--layer", "1", "--head", "1", "-o",
                     "map.svg"})
                .code,
            0);
  EXPECT_THAT(file("map.svg"), HasSubstr("<svg"));
  EXPECT_EQ(program({"plot", "decay", "finch", "--heatmap", "--layer", "2", "-o", "map.svg"}).code, 2);
  EXPECT_EQ(program({"plot", "decay", "finch", "--heatmap", "--step", "2", "-o", "map.svg"}).code, 2);
  const Finished none = program({"plot", "decay", "finch", "--heatmap", "--tokens", "0", "-o", "map.svg"});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.error, HasSubstr("--tokens: 0: expected 1 or more\n"));
}

}  // namespace
}  // namespace rwkvlab
