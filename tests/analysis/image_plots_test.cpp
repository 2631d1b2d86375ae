// Figures of models of images: effective receptive fields and spatial decays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  EXPECT_THROW(decay_figure(options), ConfigError);
  DecayPlotOptions of_checkpoint;
  of_checkpoint.source = options.source / "checkpoints" / "step-00000002";
  EXPECT_EQ(decay_figure(of_checkpoint).panels[0].curves[1].y, ranked.panels[0].curves[1].y);
}

TEST(SpatialDecayPlot, GrowingChannelsAreThoseBelowZero) {
  EXPECT_EQ(growing_share({-1, 0, 2, -0.5F}), 0.5);
  EXPECT_EQ(growing_share({}), 0);
}

}  // namespace
}  // namespace rwkvlab
