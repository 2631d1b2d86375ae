// What `bench train` measures. No time is asserted.
#include "bench/train_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {

using testing::HasSubstr;

const char* const recall =
    "name: recall\n"
    "model: {kind: language_model, layers: 1, width: 8}\n"
    "data: {kind: associative_recall, vocabulary_size: 64, train: [{length: 32, pairs: 4, examples: 8}]}\n"
    "train: {batch: 4, context: 32, objective: {kind: language_modelling, l2wrap: 0}}\n";

TEST(TrainWorkload, NamedOnesHaveTheirSizes) {
  const std::vector<std::string> names = train_workload_names();
  EXPECT_EQ(names.size(), 15U);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const TrainWorkload workload = train_workload(name);
    const bool is_small = name.ends_with("small");
    EXPECT_EQ(workload.name, name);
    if (workload.image_model) {
      EXPECT_EQ(workload.images->height() * workload.images->width() * workload.batch, 224 * 224 * 16);
      continue;
    }
    EXPECT_EQ(workload.model.layers, is_small ? 6 : 12);
    EXPECT_EQ(workload.model.width, is_small ? 256 : 768);
    EXPECT_EQ(workload.model.vocabulary_size, is_small ? 256 : 50277);
    EXPECT_EQ(workload.batch * workload.context, 2048);
    EXPECT_NO_THROW(make_language_model(workload.model));
  }
  EXPECT_THAT(message_of<ConfigError>([] { train_workload("large"); }), HasSubstr("rwkv7-169m"));
}

TEST(TrainWorkload, OfAnExperimentFile) {
  const TemporaryFolder folder;
  const TrainWorkload workload = train_workload(load_experiment(folder.make("recall.yaml", recall)));
  EXPECT_EQ(workload.name, "recall");
  EXPECT_EQ(workload.batch, 4);
  EXPECT_EQ(workload.context, 32);
  EXPECT_EQ(workload.model.vocabulary_size, 64);
  EXPECT_EQ(workload.l2wrap, 0);
  ASSERT_NE(workload.data, nullptr);
}

TEST(BenchTrain, CountsTheProductsThatRunAndComparesSteps) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.make("recall.yaml", recall);
  const TrainBenchOptions quick = {1, 1e-4};
  const TrainWorkload few = train_workload(load_experiment(file)),
                      all = train_workload(load_experiment(file, {"train.objective.l2wrap=1e-4"}));
  const TrainBenchReport report = bench_train(few, quick, &all);
  // The head's three products, of 128 tokens or, without L2Wrap, of the 16 that are asked for.
  EXPECT_EQ(bench_train(all, quick).product_flops - report.product_flops, 3 * 2.0 * (128 - 16) * 8 * 64);
  EXPECT_EQ(report.tokens, 128);
  for (const double seconds : {report.step, report.products, report.forward, report.data, report.against_step}) {
    EXPECT_GT(seconds, 0);
  }
  EXPECT_THAT(text(report), HasSubstr("step of recall"));
  EXPECT_EQ(json(report).at("step_to_against"), report.against_ratio());
  EXPECT_EQ(json(bench_train(few, quick)).count("against"), 0U);
}

TEST(BenchTrain, ComparesBfloat16WithBfloat16) {
  const TemporaryFolder folder;
  const TrainBenchOptions quick = {1, 1e-4};
  const TrainWorkload workload = train_workload(
      load_experiment(folder.make("recall.yaml", recall), {"model.width=64", "train.precision=bfloat16_products"}));
  EXPECT_EQ(workload.precision, "bfloat16_products");
  const TrainBenchReport report = bench_train(workload, quick);
  EXPECT_EQ(report.precision, precision_used("bfloat16_products"));
  EXPECT_THAT(text(report), HasSubstr(report.precision));
  EXPECT_EQ(json(report).at("precision"), report.precision);
}

TEST(BenchTrain, SaysWhereAStepGoes) {
  const TemporaryFolder folder;
  TrainBenchOptions quick = {1, 1e-4};
  quick.profiled_steps = 2;
  const TrainBenchReport report =
      bench_train(train_workload(load_experiment(folder.make("recall.yaml", recall), {"model.layers=2"})), quick);
  const Breakdown& breakdown = report.breakdown;
  EXPECT_EQ(breakdown.summary.steps, 2);
  double arithmetic = 0, limits = 0;
  const nlohmann::json all = json(report, {"", true}).at("breakdown");
  double seconds = 0;
  for (const nlohmann::json& row : all.at("operations")) {
    if (row.at("name") != "wkv4") arithmetic += row.at("flops").get<double>();
    seconds += row.at("seconds").get<double>();
    limits += row.at("limit_seconds").get<double>();
    EXPECT_GE(row.at("limit_share"), 0) << row;
  }
  EXPECT_EQ(arithmetic, report.product_flops) << "every product of the step is an operation's";
  EXPECT_NEAR(seconds, all.at("step_seconds"), 1e-9);
  EXPECT_NEAR(limits, all.at("limit_seconds"), 1e-12);
  EXPECT_GE(limits, (1 - 1e-9) * std::max(all.at("arithmetic_limit_seconds").get<double>(),
                                          all.at("memory_limit_seconds").get<double>()));
  EXPECT_GT(all.at("limits").at("memory_bytes_per_second"), 0);
  const auto names = [](const nlohmann::json& rows) {
    std::vector<std::string> result;
    for (const nlohmann::json& row : rows) result.push_back(row.at("name"));
    return result;
  };
  EXPECT_THAT(names(all.at("modules")), testing::Contains("blocks.1.att.key"));
  EXPECT_THAT(names(json(report).at("breakdown").at("modules")), testing::Contains("blocks.*.att.key"));

  EXPECT_THAT(text(report), AllOf(HasSubstr("of limit"), HasSubstr("linear"), testing::Not(HasSubstr("blocks."))));
  EXPECT_THAT(text(report, {"modules", false}), AllOf(HasSubstr("blocks.*.att"), testing::Not(HasSubstr("linear"))));
  EXPECT_THAT(text(report, {"both", true}), AllOf(HasSubstr("blocks.1.ffn"), HasSubstr("adamw")));
  EXPECT_EQ(text(report, {"none", false}).find("of limit"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(breakdown.trace).at("traceEvents").size(),
            2 + std::count(breakdown.trace.begin(), breakdown.trace.end(), '\n') - 4);
}

TEST(MachineLimits, AreOfTheSlowerPart) {
  MachineLimits limits;
  limits.product_rate = 100, limits.bfloat16_rate = 200, limits.memory_rate = 10;
  EXPECT_DOUBLE_EQ(limits.seconds(100, 0, 5), 1);
  EXPECT_DOUBLE_EQ(limits.seconds(100, 100, 1), 0.5);
  EXPECT_DOUBLE_EQ(limits.seconds(100, 60, 20), 2);
  limits.reached(50, false, 1);
  EXPECT_EQ(limits.product_rate, 100);
  limits.reached(150, false, 1);
  EXPECT_EQ(limits.product_rate, 150);
  limits.product_rate = 100;
  limits.bfloat16_rate = 0;  // A processor without.
  EXPECT_DOUBLE_EQ(limits.seconds(100, 60, 1), 1);
}

}  // namespace
}  // namespace rwkvlab
