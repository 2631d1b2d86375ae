// Figures of benchmarks and of losses by position.
#include "analysis/bench_plots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/position_plot.h"
#include "base/error.h"
#include "record/run_file_writer.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* generation = R"([
  {"workload": "rwkv4-small", "format": "float32", "threads": 1, "positions": [
    {"position": 0, "token_seconds": 0.001, "state_bytes": 30000, "peak_tensor_bytes": 2e6, "cumulative_seconds": 0},
    {"position": 99, "token_seconds": 0.002, "state_bytes": 30000, "peak_tensor_bytes": 2e6, "cumulative_seconds": 0.2}]},
  {"workload": "rwkv4-small", "format": "int8", "threads": 1, "positions": [
    {"position": 99, "token_seconds": 0.001, "state_bytes": 30000, "peak_tensor_bytes": 1e6}]}])";

TEST(GenerationFigure, ShowsWhatWasMeasuredInTheUnitOfItsTitle) {
  TemporaryFolder folder;
  folder.make("a.json", generation);
  BenchPlotOptions options;
  options.files = {folder / "a.json"};
  Figure figure = generation_figure(options);
  ASSERT_EQ(figure.panels[0].curves.size(), 2U);
  const Curve& curve = figure.panels[0].curves[0];
  // The formats differ and are named, the threads do not and are not.
  EXPECT_EQ(curve.label, "rwkv4-small, float32");
  EXPECT_THAT(curve.x, ElementsAre(1, 100));  // The token behind none is the first.
  EXPECT_THAT(curve.y, ElementsAre(1, 2));    // Milliseconds.
  EXPECT_TRUE(figure.panels[0].x.is_logarithmic && figure.panels[0].y.is_logarithmic);
  EXPECT_THAT(figure.caption, HasSubstr("1 thread."));
  options.y = "state";
  EXPECT_THAT(generation_figure(options).panels[0].curves[0].y, ElementsAre(0.03, 0.03));
  options.y = "memory";
  EXPECT_THAT(generation_figure(options).panels[0].curves[1].y, ElementsAre(1));
  options.y = "cumulative";  // The second report has none.
  EXPECT_THAT(message_of<DataError>([&] { generation_figure(options); }),
              AllOf(HasSubstr("cumulative_seconds"), HasSubstr("--cumulative")));
}

TEST(ContextFigure, StartsAtZeroAndNamesTheContexts) {
  TemporaryFolder folder;
  folder.make("c.json",
              R"([{"workload": "rwkv7-small", "threads": 2, "precision": "float32", "tokens": 512, "contexts": [
      {"context": 256, "step_seconds": 1.5, "tokens_per_second": 341, "peak_tensor_bytes": 5e6},
      {"context": 512, "step_seconds": 2.0, "tokens_per_second": 256, "peak_tensor_bytes": 5e6}]}])");
  BenchPlotOptions options;
  options.files = {folder / "c.json"};
  const Figure figure = context_figure(options);
  EXPECT_THAT(figure.panels[0].curves[0].y, ElementsAre(1.5, 2));
  EXPECT_EQ(figure.panels[0].curves[0].label, "rwkv7-small");
  EXPECT_EQ(figure.panels[0].x.tics.at(1).second, "512");
  EXPECT_EQ(figure.panels[0].y.range->first, 0);
}

TEST(ResolutionFigure, IsDrawnOverTheSideAndAsksForTrainingWhereItIsMissing) {
  TemporaryFolder folder;
  folder.make("r.json", R"([{"workload": "vrwkv-tiny", "threads": 1, "precision": "float32", "batch": 1, "sides": [
      {"side": 224, "tokens": 196, "forward_seconds": 0.5, "forward_peak_tensor_bytes": 3e6},
      {"side": 448, "tokens": 784, "forward_seconds": 2.0, "forward_peak_tensor_bytes": 9e6}]}])");
  BenchPlotOptions options;
  options.files = {folder / "r.json"};
  options.y = "memory";
  const Figure figure = resolution_figure(options);
  EXPECT_THAT(figure.panels[0].curves[0].x, ElementsAre(224, 448));
  EXPECT_THAT(figure.panels[0].curves[0].y, ElementsAre(3, 9));
  EXPECT_THAT(figure.caption, HasSubstr("weights included"));
  options.y = "training_time";
  EXPECT_THAT(message_of<DataError>([&] { resolution_figure(options); }), HasSubstr("--training"));
}

TEST(BenchFigures, RefuseWhatIsNoResult) {
  TemporaryFolder folder;
  folder.make("a.json", generation);
  folder.make("no.json", "{");
  BenchPlotOptions options;
  EXPECT_THROW(generation_figure(options), ConfigError);
  options.files = {folder / "no.json"};
  EXPECT_THAT(message_of<DataError>([&] { generation_figure(options); }),
              AllOf(HasSubstr("no.json"), HasSubstr("bench generate -o FILE")));
  options.files = {folder / "a.json"};
  EXPECT_THAT(message_of<DataError>([&] { context_figure(options); }), HasSubstr("contexts"));
  options.y = "weight";
  EXPECT_THAT(message_of<ConfigError>([&] { generation_figure(options); }), HasSubstr("time, state, memory"));
  options.files = {folder / "gone.json"};
  options.y.clear();
  EXPECT_THROW(generation_figure(options), Error);
}

void write_losses(const std::filesystem::path& file, const std::string& path, const char* dimension,
                  std::vector<float> losses) {
  auto writer = RunFileWriter::create(file, "", {});
  writer.tensor(TensorGroup::probes, path, 10, losses,
                {{static_cast<std::int64_t>(losses.size())}, {dimension}, "nats per token", ""});
  writer.close(RunStatus::done);
}

TEST(PositionFigure, ShowsEvaluationsAndTrainings) {
  TemporaryFolder folder;
  std::filesystem::create_directories(folder / "evaluated");
  std::filesystem::create_directories(folder / "trained");
  std::filesystem::create_directories(folder / "empty");
  write_losses(folder / "evaluated/eval.h5", "eval/story/loss_by_position", "position", {3, 2, 1});
  write_losses(folder / "trained/run.h5", "eval/loss_by_position", "position", {4, 2});
  write_losses(folder / "carried.h5", "eval/story/loss_by_position", "window", {4, 2});
  PositionPlotOptions options;
  options.sources = {folder / "evaluated", folder / "trained"};
  Figure figure = position_figure(options);
  ASSERT_EQ(figure.panels[0].curves.size(), 2U);
  EXPECT_EQ(figure.panels[0].curves[0].label, "evaluated");
  EXPECT_THAT(figure.panels[0].curves[0].x, ElementsAre(1, 2, 3));
  EXPECT_THAT(figure.panels[0].curves[0].y, ElementsAre(3, 2, 1));
  EXPECT_THAT(figure.panels[0].curves[1].y, ElementsAre(4, 2));
  options.sources = {folder / "evaluated"};
  options.name = "storry";
  EXPECT_THAT(message_of<DataError>([&] { position_figure(options); }), HasSubstr("did you mean 'story'"));
  options.name = "story";
  options.smoothing = 1e9;  // The mean so far.
  EXPECT_NEAR(position_figure(options).panels[0].curves[0].y[2], 2, 1e-8);
  options.sources.push_back(folder / "carried.h5");
  EXPECT_THAT(message_of<DataError>([&] { position_figure(options); }), HasSubstr("by window"));
  options.sources = {folder / "empty"};
  EXPECT_THAT(message_of<DataError>([&] { position_figure(options); }), HasSubstr("rwkvlab eval text"));
}

}  // namespace
}  // namespace rwkvlab
