// Figures of models of images: effective receptive fields and spatial decays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "analysis/receptive_field_plot.h"
#include "analysis/spatial_decay_plot.h"
#include "base/error.h"
#include "models/receptive_field.h"
#include "run/run_experiment.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {
using testing::HasSubstr;

std::filesystem::path make_run(const TemporaryFolder& folder, const std::string& model) {
  const auto file =
      folder.make("images.yaml", "model: {kind: image_classifier, layers: 2, width: 8, patch_size: 3, " + model +
                                     "}\n"
                                     "data: {kind: glyph_pairs, rows: 5, columns: 6, pairs: 1, images: 20, "
                                     "held_out_images: 10}\n"
                                     "train: {steps: 2, batch: 4, learning_rate: 0.01, schedule: {kind: constant}}\n"
                                     "log: {decays_every: 1}\n");
  RunOptions options;
  options.folder = folder / "run";
  options.output = -1;
  return run_experiment(load_experiment(file), options).folder;
}

TEST(ReceptiveFieldPlot, ShowsTheInitialAndTheTrainedModel) {
  const TemporaryFolder folder;
  ReceptiveFieldPlotOptions options;
  options.runs = {make_run(folder, "time_mix: {kind: rwkv4}, channel_mix: {kind: gelu_mlp}")};
  options.images = 9;
  const std::vector<ReceptiveField> fields = measure_receptive_fields(options);
  ASSERT_EQ(fields.size(), 1U);
  EXPECT_EQ(fields[0].label, "images");
  EXPECT_EQ(fields[0].height, 15);
  EXPECT_EQ(fields[0].width, 18);
  EXPECT_EQ(fields[0].images, 9);
  EXPECT_NE(fields[0].before, fields[0].after);
  for (const std::vector<double>& field : {fields[0].before, fields[0].after}) {
    EXPECT_GT(std::accumulate(field.begin(), field.end(), 0.0), 0);
    // Read row by row, nothing below the patch in the middle counts.
    EXPECT_EQ(std::accumulate(field.begin() + 9 * 18, field.end(), 0.0), 0);
  }
  const Figure figure = receptive_field_figure(fields);
  ASSERT_EQ(figure.panels.size(), 2U);
  ASSERT_TRUE(figure.panels[1].heat);
  EXPECT_EQ(figure.panels[1].heat->rows.size(), 15U);
  // The image's first row is the map's uppermost.
  EXPECT_EQ(figure.panels[1].heat->rows[14][0], receptive_field_map(fields[0].after)[0]);
  EXPECT_THAT(figure.panels[0].title, HasSubstr("before"));
  EXPECT_EQ(figure.panels[0].y.tics.front(), std::pair(14.0, std::string("0"))) << "rows are counted from the top";
  const std::string script = gnuplot_script(figure, "field.svg", "field.dat");
  const std::size_t bar = script.find("\nset colorbox");
  EXPECT_LT(script.find("\nunset colorbox"), bar);
  EXPECT_LT(bar, script.npos);
  EXPECT_EQ(script.find("\nset colorbox", bar + 1), script.npos) << "one bar, beside the last map";
  options.labels = {"a", "b"};
  EXPECT_THAT(message_of<ConfigError>([&] { measure_receptive_fields(options); }), HasSubstr("2 labels for 1 runs"));
}

TEST(SpatialDecayPlot, RunsAndCheckpointsOfVisionRwkv) {
  const TemporaryFolder folder;
  DecayPlotOptions options;
  options.source = make_run(folder, "time_mix: {kind: vision_rwkv}, channel_mix: {kind: vision_rwkv}");
  const std::vector<LayerDecay> layers = read_decays(options.source);
  ASSERT_EQ(layers.size(), 2U);
  EXPECT_TRUE(layers[1].is_spatial);
  const Figure ranked = decay_figure(options);
  ASSERT_EQ(ranked.panels.at(0).curves.size(), 2U);
  EXPECT_GE(ranked.panels[0].curves[0].y.front(), ranked.panels[0].curves[0].y.back());
  // -5 + 8 (h / 7)^0.7 in the first layer: below 0 up to a little above h = 3.
  EXPECT_THAT(ranked.panels[0].curves[0].label, HasSubstr("0 (50 % grow)"));
  options.profile = true;
  const Figure profile = decay_figure(options);
  ASSERT_EQ(profile.panels.size(), 2U);
  EXPECT_EQ(profile.panels[0].curves[1].y.front(), 1);
  options.profile = false;
  options.half_life = true;
  EXPECT_THAT(message_of<ConfigError>([&] { decay_figure(options); }), HasSubstr("--profile"));
  options.half_life = false;
  options.over_training = true;
  const Figure history = decay_figure(options);
  ASSERT_EQ(history.panels.size(), 2U);
  EXPECT_THAT(history.panels[0].title, HasSubstr("layer 0, 50 to "));
  const Curve& median = history.panels[0].curves.at(2);
  EXPECT_EQ(median.x, std::vector<double>({0, 1, 2}));
  // The mean of the two channels in the middle, raw.
  std::vector<double> last(layers[0].time_decay.begin(), layers[0].time_decay.end());
  std::sort(last.begin(), last.end());
  EXPECT_EQ(median.y[2], quantile(last, 0.5));
  options.half_life = true;
  EXPECT_THAT(message_of<ConfigError>([&] { decay_figure(options); }), HasSubstr("--profile"));
  options.half_life = false;
  options.map = true;
  EXPECT_THAT(message_of<ConfigError>([&] { decay_figure(options); }), HasSubstr("choose one"));
  options.over_training = false;
  const Figure map = decay_figure(options);
  ASSERT_EQ(map.panels.size(), 2U);
  EXPECT_EQ(map.panels[0].title, "step 0");
  EXPECT_EQ(map.panels[1].title, "step 2");
  EXPECT_EQ(map.panels[1].heat->rows[1][3], layers[1].time_decay[3]);
  EXPECT_EQ(map.panels[0].heat->rows[0][0], -5);
  EXPECT_EQ(map.panels[0].heat->range, map.panels[1].heat->range) << "both have one scale";
  options.step = 1;
  EXPECT_EQ(decay_figure(options).panels.size(), 1U);
  options.step.reset();
  options.map = false;
  DecayPlotOptions of_checkpoint;
  of_checkpoint.source = options.source / "checkpoints" / "step-00000002";
  EXPECT_EQ(decay_figure(of_checkpoint).panels[0].curves[1].y, ranked.panels[0].curves[1].y);
}

TEST(SpatialDecayPlot, MapsMarkHeads) {
  const TemporaryFolder folder;
  DecayPlotOptions options;
  options.source = make_run(folder, "time_mix: {kind: vision_rwkv6, head_size: 4}, channel_mix: {kind: vision_rwkv}");
  options.map = true;
  for (const std::filesystem::path& source : {options.source, options.source / "checkpoints" / "step-00000002"}) {
    options.source = source;
    const Axis x = decay_figure(options).panels[0].x;
    EXPECT_EQ(x.title, "head (4 channels each)");
    ASSERT_EQ(x.tics.size(), 2U);
    EXPECT_EQ(x.tics[1], std::pair(3.5, std::string("1")));
  }
}

TEST(SpatialDecayPlot, GrowingChannelsAreThoseBelowZero) {
  EXPECT_EQ(growing_share({-1, 0, 2, -0.5F}), 0.5);
  EXPECT_EQ(growing_share({}), 0);
}

}  // namespace
}  // namespace rwkvlab
