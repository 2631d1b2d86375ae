// The other sub-commands of the real executable.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/end_to_end/experiment.h"

namespace rwkvlab {
namespace {
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

using Commands = Program;

TEST_F(Commands, HelpNamesExitCodes) {
  const Finished help = program({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, AllOf(HasSubstr("Exit codes"), HasSubstr("describe"), HasSubstr("verify")));
  EXPECT_EQ(program({}).code, 2);
  const Finished unknown = program({"rum"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.error, AllOf(HasSubstr("'rum'"), HasSubstr("did you mean 'run'?"), HasSubstr("verify")));
  EXPECT_THAT(program({"plot", "los"}).error, AllOf(HasSubstr("'los'"), HasSubstr("did you mean 'loss'?")));
  EXPECT_EQ(program({"run"}).code, 2);
  EXPECT_EQ(program({"run", "small.yaml", "--threads", "0"}).code, 2);
  EXPECT_THAT(program({"--version"}).out, StartsWith("rwkvlab "));
}

TEST_F(Commands, CheckPrintsOrigins) {
  const Finished check = program({"check", "small.yaml", "--set", "seed=7"});
  EXPECT_EQ(check.code, 0) << check.error;
  EXPECT_THAT(check.out, AllOf(HasSubstr("# small.yaml:1"), HasSubstr("# --set seed=7"), HasSubstr("# default")));
  folder_.make("again.yaml", check.out);
  EXPECT_EQ(program({"check", "again.yaml"}).code, 0) << "what check prints is an experiment file";
  EXPECT_FALSE(std::filesystem::exists(folder_ / "runs"));
}

TEST_F(Commands, BadConfigurationsAreExitCodeTwo) {
  folder_.make("unknown.yaml", "modle: {}\n");
  const Finished unknown = program({"check", "unknown.yaml"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.error, AllOf(HasSubstr("unknown.yaml:1:1: error: unknown key 'modle'"), HasSubstr("'model'")));
  folder_.make("syntax.yaml", "model: [\n");
  EXPECT_EQ(program({"run", "syntax.yaml"}).code, 2);
  folder_.make("many.yaml", "seed: 1\nseed: 2\nmodle: {}\ntrain: {steps: x, schedule: {kind: cosine, warmup: 5}}\n");
  EXPECT_THAT(program({"check", "many.yaml"}).error,
              AllOf(HasSubstr("duplicate key 'seed'"), HasSubstr("unknown key 'modle'"), HasSubstr("'steps' must be"),
                    HasSubstr("did you mean 'warmup_steps'")));
  folder_.make("override.yaml", "model:\n  layers: 2\n  layer_overrides:\n    - {layers: [99]}\n");
  EXPECT_THAT(program({"check", "override.yaml"}).error, HasSubstr("override.yaml:3:3: error: layer_overrides names"));
  folder_.make("cycle.yaml", "extends: cycle.yaml\n");
  EXPECT_EQ(program({"describe", "cycle.yaml"}).code, 2);
  EXPECT_EQ(program({"check", "none.yaml"}).code, 2);
  EXPECT_EQ(program({"check", "."}).code, 2);
  EXPECT_EQ(program({"check", "small.yaml", "--set", "train.steps"}).code, 2);
  EXPECT_EQ(program({"check", "small.yaml", "--set", "train.stesp=3"}).code, 2);
}

TEST_F(Commands, DescribeTextAndJson) {
  const std::string config = RWKVLAB_SOURCE_DIR "/configs/models/rwkv4_14b.yaml";
  const Finished text = program({"describe", config});
  EXPECT_EQ(text.code, 0) << text.error;
  EXPECT_THAT(text.out, HasSubstr("14,148,597,760"));
  const Finished json = program({"describe", config, "--json"});
  EXPECT_EQ(nlohmann::json::parse(json.out)["parameters"], 14'148'597'760);
  EXPECT_THAT(text.out, HasSubstr("available here"));
  EXPECT_GT(nlohmann::json::parse(json.out)["memory_bytes"]["available"], 0);
  EXPECT_EQ(program({"describe", "small.yaml"}).code, 0);
}

TEST_F(Commands, BlocksAndSchema) {
  EXPECT_THAT(program({"blocks"}).out, AllOf(HasSubstr("time_mix"), HasSubstr("rwkv4"), HasSubstr("arXiv:2305.13048")));
  EXPECT_THAT(program({"blocks", "rwkv4"}).out, AllOf(HasSubstr("attention_width"), HasSubstr("hidden_width")));
  EXPECT_EQ(program({"blocks", "rwkv4"}).out.find("in channels, in channels"), std::string::npos);
  EXPECT_THAT(program({"blocks", "time_mix"}).out, AllOf(StartsWith("time_mix: "), HasSubstr("\n  rwkv4 ")));
  const Finished unknown = program({"blocks", "rwvk4"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.error, HasSubstr("did you mean 'rwkv4'?"));
  EXPECT_EQ(program({"schema"}).out, text_of(RWKVLAB_SOURCE_DIR "/configs/schema.json"));
  EXPECT_EQ(program({"schema", "--markdown"}).out, text_of(RWKVLAB_SOURCE_DIR "/docs/experiment_file.md"));
}

TEST_F(Commands, PlotsFromRunsAndCheckpoints) {
  ASSERT_EQ(train("a", {"--set", "log.decays_every=20"}).code, 0);
  const auto plot = [this](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "plot");
    return program(arguments);
  };
  if (std::system("command -v gnuplot >/dev/null") != 0) GTEST_SKIP() << "gnuplot is not installed";
  EXPECT_EQ(plot({"decay", "a", "-o", "decay.svg"}).code, 0);
  EXPECT_THAT(file("decay.svg"), HasSubstr("<svg"));
  EXPECT_EQ(plot({"decay", "a", "--half-life", "--step", "20", "-o", "half.png"}).code, 0);
  EXPECT_EQ(plot({"decay", "a", "--over-training", "-o", "moved.pdf"}).code, 0);
  EXPECT_EQ(plot({"decay", "a/checkpoints/step-00000060", "-o", "checkpoint.svg"}).code, 0);
  EXPECT_EQ(plot({"decay", "a/checkpoints/step-00000060/model.safetensors", "-o", "file.svg"}).code, 0);
  EXPECT_EQ(plot({"loss", "a", "a/run.h5", "--bits", "-o", "loss.svg"}).code, 0);
  EXPECT_EQ(plot({"loss", "a", "-o", "loss.gif"}).code, 2);
  const Finished nowhere = plot({"loss", "a", "-o", "nodir/loss.svg"});
  EXPECT_EQ(nowhere.code, 1);
  EXPECT_THAT(nowhere.error, HasSubstr("there is no folder 'nodir'"));
  EXPECT_EQ(plot({"loss", "none", "-o", "loss.svg"}).code, 3);
  EXPECT_EQ(plot({"decay", "text.txt", "-o", "x.svg"}).code, 3);
}

TEST_F(Commands, VerifyExitCodes) {
  const std::string unreadable = folder_.make("broken.safetensors", "no").string();
  const Finished broken = program({"verify", unreadable});
  EXPECT_EQ(broken.code, 3);
  EXPECT_THAT(broken.error, HasSubstr("broken.safetensors"));
  EXPECT_EQ(program({"verify", "none.safetensors"}).code, 3);
  const std::string good = RWKVLAB_SOURCE_DIR "/tests/reference/rwkv4/time_mix.safetensors";
  if (!std::filesystem::exists(good)) GTEST_SKIP() << good << " is not there";
  EXPECT_EQ(program({"verify", good}).code, 0);
  const Finished both = program({"verify", "--json", good, unreadable});
  EXPECT_EQ(both.code, 3);
  EXPECT_EQ(nlohmann::json::parse(both.out.substr(0, both.out.find('\n')))["case"], "time_mix");
}

TEST_F(Commands, ProfilesARun) {
  const Finished run = program({"run", "small.yaml", "--no-figures", "--profile", "--out", "profiled", "--set",
                                "train.steps=6", "--set", "eval.every=0"});
  EXPECT_EQ(run.code, 0) << run.error;
  EXPECT_THAT(run.out, HasSubstr("profile        4 steps in profiled/trace.json"));
  EXPECT_FALSE(nlohmann::json::parse(file("profiled/trace.json")).at("traceEvents").empty());
  folder_.make("sweep.yaml", "extends: small.yaml\nsweep: {grid: {model.width: [8, 16]}}\n");
  const Finished sweep = program({"run", "sweep.yaml", "--profile"});
  EXPECT_EQ(sweep.code, 2);
  EXPECT_THAT(sweep.error, HasSubstr("log.profile"));
}

TEST_F(Commands, MeasuresSpeed) {
  if (program({"--help"}).out.find("bench") == std::string::npos) GTEST_SKIP() << "built without Google Benchmark";
  const std::vector<std::string> quick = {"--repetitions", "1", "--seconds", "0.001", "--threads", "1"};
  const auto bench = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "bench");
    arguments.insert(arguments.end(), quick.begin(), quick.end());
    return program(arguments);
  };
  const Finished train = bench({"train", "small.yaml", "--breakdown", "both", "--trace", "trace.json"});
  EXPECT_EQ(train.code, 0) << train.error;
  EXPECT_THAT(train.out, AllOf(HasSubstr("of limit"), HasSubstr("blocks.*.att"), HasSubstr("adamw")));
  EXPECT_FALSE(nlohmann::json::parse(file("trace.json")).at("traceEvents").empty());
  const Finished kernels = bench({"kernels", "adam", "--json"});
  EXPECT_EQ(kernels.code, 0) << kernels.error;
  EXPECT_EQ(nlohmann::json::parse(kernels.out)[0].at("kernels")[0].at("name"), "adam");
  const Finished data = bench({"data", "small.yaml", "--set", "train.batch=1"});
  EXPECT_EQ(data.code, 0) << data.error;
  EXPECT_THAT(data.out, HasSubstr("small "));
  EXPECT_EQ(bench({"generate", "small.yaml", "--format", "int8", "--positions", "0,3", "-o", "g.json"}).code, 0);
  EXPECT_EQ(program({"plot", "generation", "g.json", "-o", "g.svg"}).code, 0);
  EXPECT_EQ(bench({"context", "small.yaml", "--contexts", "4,8", "--tokens", "8", "-o", "c.json"}).code, 0);
  EXPECT_EQ(program({"plot", "context", "c.json", "--y", "throughput", "-o", "c.svg"}).code, 0);
  EXPECT_EQ(bench({"context", "small.yaml", "--contexts", "5", "--tokens", "8"}).code, 2);
  EXPECT_EQ(bench({"kernels", "wkv9"}).code, 2);
  EXPECT_EQ(bench({"data", "nothing"}).code, 2);
  EXPECT_EQ(bench({"train", "--breakdown", "all"}).code, 2);
}

}  // namespace
}  // namespace rwkvlab
