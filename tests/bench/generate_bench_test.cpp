// What `bench generate` and `bench context` measure. No time is asserted.
#include "bench/generate_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "bench/context_bench.h"

namespace rwkvlab {
namespace {
using testing::HasSubstr;

GenerateBenchReport measured(const std::string& name, WeightFormat format, std::vector<std::int64_t> positions,
                             bool cumulative = false) {
  TrainWorkload workload = generate_workload(name);
  workload.model.layers = 1;
  workload.model.vocabulary_size = 300;
  return bench_generate(workload, {format, 1, std::move(positions), 1, 0.001, cumulative});
}

TEST(GenerateBench, CountsTheBytesOfTheLinearLayers) {
  // Key, value, receptance, output, and the channel mix's 256 -> 1024 -> 256 with its receptance; then the head.
  const double weights = 5 * 256 * 256 + 2 * 256 * 1024 + 256 * 300;
  EXPECT_EQ(measured("rwkv4-small", WeightFormat::float32, {}).weight_bytes, 4 * weights);
  EXPECT_EQ(measured("rwkv4-small", WeightFormat::bfloat16, {}).weight_bytes, 2 * weights);
  // A scale per output: six layers with 256 of them, the hidden layer with 1024, the head.
  const double scales = 4 * (6 * 256 + 1024 + 300);
  EXPECT_EQ(measured("rwkv4-small", WeightFormat::int8, {}).weight_bytes, weights + scales);
}

TEST(GenerateBench, AStateStaysAndACacheGrows) {
  const auto recurrent = measured("rwkv7-small", WeightFormat::int8, {30, 0, 10});
  ASSERT_EQ(recurrent.positions.size(), 3U);
  EXPECT_EQ(recurrent.positions[0].position, 0);
  EXPECT_EQ(recurrent.positions[2].position, 30);
  EXPECT_EQ(recurrent.positions[0].state_bytes, recurrent.positions[2].state_bytes);
  const auto cached = measured("transformer-small", WeightFormat::int8, {0, 200});
  // Key and value of every token so far and the one that is timed.
  EXPECT_EQ(cached.positions[0].state_bytes, 4.0 * 2 * 256 * 1);
  EXPECT_EQ(cached.positions[1].state_bytes, 4.0 * 2 * 256 * 201);
  // A cache has room for 64 tokens at least, and half as many more than it was made for; a step copies none of it. The
  // states at other positions do not count.
  const double grown = cached.positions[1].peak_tensors - cached.positions[0].peak_tensors;
  EXPECT_GE(grown, 4.0 * 2 * 256 * (200 - 64));
  EXPECT_LE(grown, 4.0 * 2 * 256 * 300 + 65536);  // Buffers are whole pages.
  EXPECT_EQ(recurrent.positions[1].peak_tensors, recurrent.positions[2].peak_tensors);
  EXPECT_FALSE(cached.positions[0].cumulative);
}

TEST(GenerateBench, TimesAllTokensUpToAPosition) {
  for (const char* const name : {"rwkv5-small", "transformer-small"}) {
    const auto report = measured(name, WeightFormat::float32, {0, 5, 9}, true);
    EXPECT_EQ(report.positions[0].cumulative, 0) << name;
    EXPECT_GT(*report.positions[1].cumulative, 0) << name;
    EXPECT_GT(*report.positions[2].cumulative, *report.positions[1].cumulative) << name;
    EXPECT_THAT(text({report}), HasSubstr("a token behind 9 others")) << name;
    EXPECT_GT(json({report})[0]["positions"][1]["cumulative_seconds"], 0) << name;
  }
}

TEST(ContextBench, CutsTheSameTokensIntoLongerSequences) {
  TrainWorkload workload = train_workload("rwkv6-small");
  workload.model.layers = 1;
  const ContextBenchReport report = bench_context(workload, {{64, 16}, 64, 1, 0.001});
  ASSERT_EQ(report.points.size(), 2U);
  EXPECT_EQ(report.points[0].context, 16);
  EXPECT_EQ(report.points[0].batch, 4);
  EXPECT_EQ(report.points[1].batch, 1);
  // Weights, gradients and two moments at least.
  EXPECT_GT(report.points[0].peak_tensors, 4.0 * 4 * 256 * 256 * 5);
  EXPECT_EQ(report.slowdown(report.points[0]), 1);
  EXPECT_THAT(text({report}), HasSubstr("64 tokens a step"));
  EXPECT_EQ(json({report})[0]["contexts"][1]["context"], 64);
  EXPECT_THROW(bench_context(workload, {{48}, 64, 1, 0.001}), ConfigError);
  EXPECT_THROW(bench_context(workload, {{}, 64, 1, 0.001}), ConfigError);
}

TEST(GenerateBench, PrintsTextAndJson) {
  const auto report = measured("rwkv4-small", WeightFormat::int8, {2});
  EXPECT_THAT(text({report}), HasSubstr("rwkv4-small"));
  const nlohmann::json all = json({report});
  EXPECT_EQ(all[0]["format"], "int8");
  EXPECT_EQ(all[0]["positions"][0]["position"], 2);
  EXPECT_GT(all[0]["positions"][0]["share_of_read_bandwidth"], 0);
  EXPECT_THROW(generate_workload("rwkv9"), ConfigError);
  EXPECT_THROW(bench_generate(generate_workload("vrwkv-tiny"), {}), ConfigError);  // It has no tokens to generate.
  EXPECT_EQ(generate_workload("rwkv7-0.1b").model.vocabulary_size, 65536);
}

}  // namespace
}  // namespace rwkvlab
