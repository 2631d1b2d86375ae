// What `bench generate` measures. No time is asserted.
#include "bench/generate_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace rwkvlab {
namespace {
using testing::HasSubstr;

GenerateBenchReport measured(const std::string& name, WeightFormat format, std::vector<std::int64_t> positions) {
  TrainWorkload workload = generate_workload(name);
  workload.model.layers = 1;
  workload.model.vocabulary_size = 300;
  return bench_generate(workload, {format, 1, std::move(positions), 1, 0.001});
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
  const auto cached = measured("transformer-small", WeightFormat::int8, {0, 30});
  // Key and value of every token so far and the one that is timed.
  EXPECT_EQ(cached.positions[0].state_bytes, 4.0 * 2 * 256 * 1);
  EXPECT_EQ(cached.positions[1].state_bytes, 4.0 * 2 * 256 * 31);
}

TEST(GenerateBench, PrintsTextAndJson) {
  const auto report = measured("rwkv4-small", WeightFormat::int8, {2});
  EXPECT_THAT(text({report}), HasSubstr("rwkv4-small"));
  const nlohmann::json all = json({report});
  EXPECT_EQ(all[0]["format"], "int8");
  EXPECT_EQ(all[0]["positions"][0]["position"], 2);
  EXPECT_GT(all[0]["positions"][0]["share_of_read_bandwidth"], 0);
  EXPECT_THROW(generate_workload("rwkv9"), ConfigError);
  EXPECT_EQ(generate_workload("rwkv7-0.1b").model.vocabulary_size, 65536);
}

}  // namespace
}  // namespace rwkvlab
