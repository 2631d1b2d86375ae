// Profiles of whole trainings: what they add up to, and what they leave behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "record/run_file_reader.h"
#include "run/profile_summary.h"
#include "run/run_experiment.h"
#include "tests/run/make_experiment.h"

namespace rwkvlab {
namespace {
using testing::Contains;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;

const ProfileRow* find(const std::vector<ProfileRow>& rows, const std::string& name) {
  for (const ProfileRow& row : rows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

class Profile : public testing::Test {
 protected:
  RunResult run(const std::string& name, bool profile, const std::vector<std::string>& settings = {},
                bool resume = false) {
    RunOptions options;
    options.folder = folder_ / name;
    options.profile = profile;
    options.resume = resume;
    options.output = -1;
    return run_experiment(load_experiment(file_, settings), options);
  }
  std::string bytes(const std::string& name) const { return read_text(folder_ / name); }

  TemporaryFolder folder_;
  const std::filesystem::path file_ = make_small_experiment(folder_);
};

TEST_F(Profile, AddsUpToTheSteps) {
  Profiler profiler;
  run("a", false);
  profiler.stop();
  const ProfileSummary summary = summarise(profiler);
  EXPECT_EQ(summary.steps, 12);
  std::vector<double> flops;
  for (const std::vector<ProfileRow>* rows : {&summary.operations, &summary.modules}) {
    double seconds = 0;
    flops.push_back(0);
    for (const ProfileRow& row : *rows) seconds += row.seconds(), flops.back() += row.flops;
    EXPECT_NEAR(seconds, summary.step_seconds, 1e-9 * summary.step_seconds);
  }
  EXPECT_EQ(flops[0], flops[1]) << "the same arithmetic, per operation and per module";
  EXPECT_GT(find(summary.operations, "linear")->flops, 0);
  for (const char* const name : {"batch", "gradient_norm", "adamw", "clear_gradients"}) {
    const ProfileRow* const row = find(summary.operations, name);
    ASSERT_NE(row, nullptr) << name;
    EXPECT_TRUE(row->is_part);
    EXPECT_EQ(row->forward + row->backward, 0);
    EXPECT_GE(row->calls, 12);
  }
  // In two layers and 12 steps; the evaluations are not counted here.
  EXPECT_EQ(find(summary.operations, "wkv4")->calls, 12 * 2);
  EXPECT_GT(find(summary.operations, "wkv4")->backward, 0);
  EXPECT_GT(find(summary.operations, "gradient_sum")->calls, 0);
  const ProfileRow* const evaluation = find(summary.outside, "evaluation");
  ASSERT_NE(evaluation, nullptr);
  EXPECT_EQ(evaluation->calls, 3);
  EXPECT_GT(evaluation->flops, 0);
  for (const char* const name : {"log", "checkpoint"}) EXPECT_NE(find(summary.outside, name), nullptr) << name;
}

TEST_F(Profile, ModulesOfAllLayersOrEach) {
  Profiler profiler;
  run("a", false, {"train.steps=2", "eval.every=0"});
  profiler.stop();
  const ProfileSummary summary = summarise(profiler);
  const std::vector<ProfileRow> layers = module_tree(summary.modules, true),
                                kinds = module_tree(summary.modules, false);
  const ProfileRow *const first = find(layers, "blocks.0.att"), *const second = find(layers, "blocks.1.att"),
                          *const both = find(kinds, "blocks.*.att");
  ASSERT_TRUE(first != nullptr && second != nullptr && both != nullptr);
  EXPECT_DOUBLE_EQ(both->backward, first->backward + second->backward);
  EXPECT_EQ(both->flops, first->flops + second->flops);
  EXPECT_GT(first->backward, 0);
  EXPECT_EQ(find(kinds, "blocks.0.att"), nullptr);
  // A module's row holds those below it; its projections are most of its arithmetic.
  const ProfileRow *const key = find(kinds, "blocks.*.att.key"), *const model = find(kinds, "");
  ASSERT_TRUE(key != nullptr && model != nullptr);
  EXPECT_GT(key->flops, 0);
  EXPECT_GT(both->flops, 3 * key->flops);
  double parts = 0;
  for (const ProfileRow& row : kinds) parts += row.is_part ? row.seconds() : 0;
  EXPECT_NEAR(model->seconds() + parts, summary.step_seconds, 1e-9);
  EXPECT_EQ(without_layer("blocks.12.att.0"), "blocks.*.att.*");
  EXPECT_EQ(without_layer(""), "");
}

TEST_F(Profile, ChangesNothingButTheRunFile) {
  const RunResult plain = run("plain", false), profiled = run("profiled", true);
  EXPECT_FALSE(plain.profiled_steps.has_value());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "plain/trace.json"));
  EXPECT_EQ(profiled.profiled_steps, 10);
  for (const char* const name : {"model.safetensors", "optimizer.safetensors"}) {
    EXPECT_EQ(read_text(plain.checkpoint / name), read_text(profiled.checkpoint / name)) << name;
  }
  const RunFileReader a(plain.run_file), b(profiled.run_file);
  EXPECT_EQ(a.scalars("metrics/train/loss").values, b.scalars("metrics/train/loss").values);
  EXPECT_EQ(a.config(), b.config());
  EXPECT_FALSE(a.profile().has_value());
  EXPECT_TRUE(b.profile().has_value());
  EXPECT_EQ(bytes("plain/run.h5"), (run("again", false), bytes("again/run.h5")));
}

TEST_F(Profile, IsInTheRunFile) {
  const RunResult result = run("a", false, {"log.profile={from: 4, steps: 2}"});
  const std::optional<ProfileRecord> profile = RunFileReader(result.run_file).profile();
  ASSERT_TRUE(profile.has_value());
  EXPECT_EQ(profile->first_step, 4);
  EXPECT_EQ(profile->steps, 2);
  ASSERT_EQ(profile->tables.size(), 3U);
  const ProfileTable& operations = profile->tables.at("operations");
  EXPECT_THAT(operations.names, IsSupersetOf({"wkv4", "linear", "(adamw)", "(between operations)"}));
  EXPECT_THAT(profile->tables.at("modules").names, Contains("blocks.0.att.key"));
  EXPECT_THAT(profile->tables.at("outside").names, Contains("(log)"));
  for (const ProfileTable::Column& column : operations.columns) {
    ASSERT_EQ(column.values.size(), operations.names.size()) << column.name;
    EXPECT_FALSE(column.unit.empty());
    const auto at = std::find(operations.names.begin(), operations.names.end(), "wkv4") - operations.names.begin();
    const double value = column.values[static_cast<std::size_t>(at)];
    if (column.name == "calls") {
      EXPECT_EQ(value, 2 * 2);
    } else if (column.name == "backward") {
      EXPECT_GT(value, 0);
    }
  }
  // A resumed run keeps it.
  EXPECT_EQ(run("a", false, {"train.steps=14"}, true).step, 14);
  EXPECT_EQ(RunFileReader(result.run_file).profile()->tables.at("operations").names, operations.names);
}

TEST_F(Profile, TraceNestsAndNamesWhatHappened) {
  const RunResult result = run("a", true, {"log.profile={from: 2, steps: 3}"});
  EXPECT_EQ(result.trace, folder_ / "a/trace.json");
  const nlohmann::json trace = nlohmann::json::parse(read_text(result.trace));
  std::vector<std::pair<double, double>> open;  // The spans around the next one.
  int steps = 0;
  std::set<std::string> categories, modules;
  for (const nlohmann::json& event : trace.at("traceEvents")) {
    if (event.at("ph") != "X") continue;
    const double begin = event.at("ts"), end = begin + event.at("dur").get<double>();
    // Microseconds with three decimals: sums of two are exact to less than a nanosecond.
    while (!open.empty() && open.back().second <= begin + 1e-4) open.pop_back();
    if (!open.empty()) {
      EXPECT_LE(end, open.back().second + 1e-3) << event;
    }
    open.emplace_back(begin, end);
    steps += event.at("name") == "step" ? 1 : 0;
    categories.insert(event.at("cat"));
    if (event.contains("args")) modules.insert(event.at("args").at("module"));
  }
  EXPECT_EQ(steps, 3);
  EXPECT_THAT(categories, IsSupersetOf({"step", "forward", "backward", "data", "update", "record"}));
  EXPECT_THAT(modules, IsSupersetOf({"blocks.1.att", "blocks.0.att.key", "head", "ln_out"}));
}

TEST_F(Profile, OfFewStepsAndOfNone) {
  EXPECT_EQ(run("few", true, {"train.steps=5"}).profiled_steps, 3);
  EXPECT_TRUE(RunFileReader(folder_ / "few/run.h5").profile().has_value());
  const RunResult none = run("none", true, {"train.steps=2"});
  EXPECT_EQ(none.profiled_steps, 0);
  EXPECT_TRUE(none.trace.empty());
  EXPECT_FALSE(RunFileReader(none.run_file).profile().has_value());
  EXPECT_THAT(message_of<ConfigError>([&] { load_experiment(file_, {"log.profile={from: 0}"}); }), HasSubstr("from"));
  EXPECT_EQ(Profiler::current(), nullptr);
}

}  // namespace
}  // namespace rwkvlab
