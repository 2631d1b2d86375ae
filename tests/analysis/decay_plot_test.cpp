#include "analysis/decay_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "record/decays.h"
#include "record/run_file_writer.h"
#include "tensor/safetensors.h"
#include "tests/record/test_files.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A run with `layers` layers whose decays drift with the step; recorded at 0, 100, ..., 1000.
void write_run(const std::filesystem::path& path, int layers, int channels) {
  auto writer = RunFileWriter::create(path, "", {});
  for (int step = 0; step <= 1000; step += 100) {
    for (int layer = 0; layer < layers; ++layer) {
      std::vector<float> w = testing::decay_at(step * 10, layer, channels);
      writer.tensor(TensorGroup::decay, "blocks." + std::to_string(layer) + ".att.time_decay", step, w,
                    {{channels}, {"channel"}, "1", ""});
    }
  }
  writer.close(RunStatus::done);
}

Tensor tensor_of(const std::vector<float>& values) {
  Tensor tensor = Tensor::zeros(Shape{static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.span<float>().begin());
  return tensor;
}

TEST(Quantile, InterpolatesBetweenNeighbours) {
  EXPECT_EQ(quantile({3}, 0.3), 3);
  EXPECT_EQ(quantile({1, 2, 4}, 0), 1);
  EXPECT_EQ(quantile({1, 2, 4}, 0.5), 2);
  EXPECT_EQ(quantile({1, 2, 4}, 0.75), 3);
  EXPECT_EQ(quantile({1, 2, 4}, 1), 4);
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(quantile({infinity, infinity}, 0.5), infinity);
}

TEST(ReadDecays, OrdersLayersByNumberAndChoosesTheStep) {
  const TemporaryFolder folder;
  write_run(folder / "run.h5", 12, 8);
  const auto last = read_decays(folder.path());
  ASSERT_EQ(last.size(), 12u);
  for (int layer = 0; layer < 12; ++layer) {
    EXPECT_EQ(last[layer].layer, layer);
    EXPECT_EQ(last[layer].time_decay, testing::decay_at(10000, layer));
  }
  EXPECT_EQ(read_decays(folder / "run.h5", 399)[3].time_decay, testing::decay_at(3000, 3));
  EXPECT_EQ(read_decays(folder / "run.h5", 0)[3].time_decay, testing::decay_at(0, 3));
  EXPECT_THAT(message_of<DataError>([&] { read_decays(folder / "run.h5", -1); }), HasSubstr("first one is at step 0"));
  const auto history = read_decay_history(folder.path());
  ASSERT_EQ(history.size(), 12u);
  EXPECT_EQ(history[11].layer, 11);
  ASSERT_EQ(history[11].steps.size(), 11u);
  EXPECT_EQ(history[11].time_decay[4], testing::decay_at(4000, 11));
}

TEST(ReadDecays, FromACheckpoint) {
  const TemporaryFolder folder;
  write_safetensors(folder / "model.safetensors", {{"blocks.10.att.time_decay", tensor_of({1, 2})},
                                                   {"blocks.9.att.time_decay", tensor_of({3, 4})},
                                                   {"blocks.9.att.time_first", tensor_of({5, 6})},
                                                   {"emb.weight", tensor_of({7})}});
  for (const auto& source : {folder.path(), folder / "model.safetensors"}) {
    const auto layers = read_decays(source);
    ASSERT_EQ(layers.size(), 2u);
    EXPECT_EQ(layers[0].layer, 9);
    EXPECT_THAT(layers[0].time_decay, ElementsAre(3, 4));
    EXPECT_EQ(layers[1].layer, 10);
  }
  EXPECT_THROW(read_decays(folder.path(), 5), ConfigError);
  EXPECT_THROW(read_decay_history(folder.path()), DataError);
}

TEST(ReadDecays, RefusesWhatHoldsNone) {
  const TemporaryFolder folder;
  EXPECT_THROW(read_decays(folder / "missing"), DataError);
  EXPECT_THAT(message_of<DataError>([&] { read_decays(folder.path()); }), HasSubstr("run.h5"));
  write_safetensors(folder / "a.safetensors", {{"emb.weight", tensor_of({7})}});
  EXPECT_THAT(message_of<DataError>([&] { read_decays(folder / "a.safetensors"); }),
              HasSubstr("blocks.N.att.time_decay"));
  write_safetensors(folder / "b.safetensors", {{"blocks.0.att.time_decay", tensor_of({1, NAN})}});
  EXPECT_THAT(message_of<DataError>([&] { read_decays(folder / "b.safetensors"); }), HasSubstr("not numbers"));
  RunFileWriter::create(folder / "run.h5", "", {}).close(RunStatus::done);
  EXPECT_THAT(message_of<DataError>([&] { read_decays(folder.path()); }), HasSubstr("Set 'log.decays_every'"));
  std::filesystem::remove(folder / "run.h5");
  RunFileWriter::create(folder / "run.h5", "log: {decays_every: 5}\n", {}).close(RunStatus::done);
  EXPECT_THAT(message_of<DataError>([&] { read_decays(folder.path()); }),
              AllOf(HasSubstr("--over-text"), Not(HasSubstr("Set 'log"))));
  folder.make("text.txt", "hello");
  EXPECT_THROW(read_decays(folder / "text.txt"), DataError);
}

// The numbers of the reference case: decays sorted within each layer, half-lives in channel order.
TEST(DecayFunctions, ReferenceCase) {
  const std::filesystem::path path = std::filesystem::path(RWKVLAB_REFERENCE_DIR) / "rwkv4/analysis.safetensors";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no reference cases in " RWKVLAB_REFERENCE_DIR;
  const SafetensorsFile file(path);
  const Tensor sorted = file.tensor("out.decay_sorted"), lives = file.tensor("out.half_life");
  std::int64_t at = 0;
  for (int layer = 0; file.contains("param.blocks." + std::to_string(layer) + ".att.time_decay"); ++layer) {
    const Tensor w = file.tensor("param.blocks." + std::to_string(layer) + ".att.time_decay", DType::f32);
    const auto got_sorted = sorted_decays(w.span<float>());
    const auto got_lives = half_lives(w.span<float>());
    for (std::int64_t c = 0; c < w.elements(); ++c, ++at) {
      // The expected values were rounded to float32 (2^-24 relative).
      EXPECT_NEAR(got_sorted[c], sorted.span<float>()[at], 6e-8);
      EXPECT_NEAR(got_lives[c], lives.span<float>()[at], 6e-8 * got_lives[c]);
    }
  }
  EXPECT_GT(at, 0);
  EXPECT_EQ(at, sorted.elements());
}

TEST(DecayFigure, OneSortedLinePerLayer) {
  const TemporaryFolder folder;
  write_run(folder / "run.h5", 3, 8);
  const Figure figure = decay_figure({folder.path(), "x.svg", false, false, std::nullopt, ""});
  ASSERT_EQ(figure.panels.size(), 1u);
  ASSERT_EQ(figure.panels[0].curves.size(), 3u);
  EXPECT_EQ(figure.panels[0].curves[2].label, "2");
  EXPECT_EQ(figure.panels[0].curves[2].y, sorted_decays(testing::decay_at(10000, 2)));
  EXPECT_THAT(figure.panels[0].curves[2].x, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_EQ(figure.legend, Legend::right);
  const Figure lives = decay_figure({folder.path(), "x.svg", true, false, 0, ""});
  auto expected = half_lives(testing::decay_at(0, 1));
  std::sort(expected.rbegin(), expected.rend());
  EXPECT_EQ(lives.panels[0].curves[1].y, expected);
  EXPECT_TRUE(lives.panels[0].y.is_logarithmic);
  EXPECT_THAT(lives.panels[0].y.title, HasSubstr("(tokens)"));
}

TEST(DecayFigure, OverTrainingHasAPanelPerLayer) {
  const TemporaryFolder folder;
  write_run(folder / "run.h5", 6, 5);
  const Figure figure = decay_figure({folder.path(), "x.svg", false, true, std::nullopt, "T"});
  ASSERT_EQ(figure.panels.size(), 6u);
  EXPECT_EQ(figure.title, "T");
  const Panel& panel = figure.panels[4];
  EXPECT_EQ(panel.title, "layer 4");
  ASSERT_EQ(panel.curves.size(), 3u);
  auto decays = sorted_decays(testing::decay_at(3000, 4, 5));
  EXPECT_EQ(panel.curves[2].x[3], 300);
  EXPECT_EQ(panel.curves[2].y[3], decays[2]) << "median of five";
  EXPECT_EQ(panel.curves[1].y[3], decays[3]) << "lower quartile of five";
  EXPECT_EQ(panel.curves[1].top[3], decays[1]);
  EXPECT_THROW(decay_figure({folder.path(), "x.svg", false, true, 5, ""}), ConfigError);
}

}  // namespace
}  // namespace rwkvlab
