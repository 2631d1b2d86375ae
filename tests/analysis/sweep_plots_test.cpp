// Figures over sweeps whose numbers are known by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/accuracy_plot.h"
#include "analysis/curves_plot.h"
#include "base/error.h"
#include "tests/analysis/sweep_sample.h"

namespace rwkvlab {
namespace {

using ::testing::AllOf;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using Names = std::vector<std::string>;

class SweepPlots : public ::testing::Test {
 protected:
  SweepPlots() {
    testing::write_sample_sweep(folder_ / "sweep");
    curves_.sources = accuracy_.sources = {folder_ / "sweep"};
    accuracy_.x = "model.width";
  }
  TemporaryFolder folder_;
  CurvesPlotOptions curves_;
  AccuracyPlotOptions accuracy_;
};

Names line_labels(const Panel& panel) {
  Names labels;
  for (const Curve& curve : panel.curves) {
    if (curve.top.empty()) labels.push_back(curve.label);
  }
  return labels;
}

TEST_F(SweepPlots, CurvesAreMeansWithBands) {
  const Figure figure = curves_figure(curves_);
  ASSERT_EQ(figure.panels.size(), 1U);
  const Panel& panel = figure.panels[0];
  EXPECT_THAT(line_labels(panel),
              ElementsAre("Finch, width 32", "Finch, width 64", "RWKV-4, width 32", "RWKV-4, width 64"));
  ASSERT_EQ(panel.curves.size(), 8U);
  EXPECT_FALSE(panel.curves[3].top.empty());  // Bands first.
  const Curve &band = panel.curves[0], &line = panel.curves[4];
  EXPECT_THAT(line.x, ElementsAre(50, 100));
  // Rounding of sums, here and below.
  EXPECT_THAT(line.y, ElementsAre(DoubleNear(0.46, 1e-12), DoubleNear(0.92, 1e-12)));  // Of the better rate.
  EXPECT_THAT(band.y, ElementsAre(DoubleNear(0.455, 1e-12), DoubleNear(0.91, 1e-12)));
  EXPECT_THAT(band.top, ElementsAre(DoubleNear(0.465, 1e-12), DoubleNear(0.93, 1e-12)));
  EXPECT_EQ(band.color, line.color);
  EXPECT_EQ(panel.y.title, "held-out accuracy");
  EXPECT_THAT(figure.caption, AllOf(HasSubstr("one standard deviation"), HasSubstr("Of train.learning_rate")));
}

TEST_F(SweepPlots, CurvesInPanelsOverTokens) {
  curves_.panels = "model.width";
  curves_.metrics = Names{"train/loss", "eval/accuracy"};
  curves_.x = "tokens";
  const Figure figure = curves_figure(curves_);
  ASSERT_EQ(figure.panels.size(), 4U);
  EXPECT_EQ(figure.columns, 2);
  EXPECT_EQ(figure.panels[1].title, "width 64");
  EXPECT_THAT(line_labels(figure.panels[1]), ElementsAre("Finch", "RWKV-4"));
  EXPECT_EQ(figure.panels[0].y.title, "training loss (nats per token)");
  EXPECT_EQ(figure.panels[0].curves[2].x[3], 64 * 30);
  EXPECT_EQ(figure.panels[3].curves[2].x[0], 64 * 50);
  EXPECT_EQ(figure.legend, Legend::right);
}

TEST_F(SweepPlots, CurvesOfWhatIsThere) {
  const auto run = folder_ / "sweep/runs/Finch-32-0.003";
  testing::write_sample_run(run / "seed-1", testing::sample_config(32, 0.003, 1), {{0.1, 0.2}, RunStatus::diverged});
  testing::write_sample_run(run / "seed-2", testing::sample_config(32, 0.003, 2), {{0.4}, RunStatus::running});
  std::filesystem::remove_all(folder_ / "sweep/runs/Finch-32-0.001");
  const Figure figure = curves_figure(curves_);
  const Curve& line = figure.panels[0].curves[4];
  EXPECT_THAT(line.x, ElementsAre(50));  // Where both seeds that did not fail have a value.
  EXPECT_THAT(line.y, ElementsAre(DoubleNear((0.4 + 0.465) / 2, 1e-12)));
  EXPECT_THAT(figure.caption,
              AllOf(HasSubstr("1 run failed"), HasSubstr("3 runs not started"), HasSubstr("1 run running")));
}

TEST_F(SweepPlots, RunsThatReachedTheirGoalKeepTheirLastValue) {
  // Finch ends at step 50 of 100 with one seed.
  const auto seed = folder_ / "sweep/runs/Finch-32-0.003/seed-1";
  auto writer = [&](RunStatus status) {
    std::filesystem::remove(seed / "run.h5");
    auto file = RunFileWriter::create(seed / "run.h5", testing::sample_config(32, 0.003, 1), {});
    for (const char* const name : {"train/tokens_seen", "eval/accuracy"}) file.declare_metric(name, "1", "");
    file.metric("train/tokens_seen", 50, 64 * 50);
    file.metric("eval/accuracy", 50, 0.99);
    file.close(status);
  };
  writer(RunStatus::done);
  curves_.x = "tokens";
  Figure figure = curves_figure(curves_);
  const Curve& line = figure.panels[0].curves[4];
  EXPECT_THAT(line.x, ElementsAre(64 * 50, 64 * 100));
  EXPECT_THAT(line.y[1], DoubleNear((0.99 + 0.92 + 0.93) / 3, 1e-12));  // Rounding of a sum.
  EXPECT_THAT(figure.caption, HasSubstr("ended at their goal"));
  writer(RunStatus::interrupted);
  figure = curves_figure(curves_);
  EXPECT_THAT(figure.caption, ::testing::Not(HasSubstr("ended at their goal")));
}

TEST_F(SweepPlots, AccuracyAlongAnAxis) {
  const Figure figure = accuracy_figure(accuracy_);
  ASSERT_EQ(figure.panels.size(), 1U);
  const Panel& panel = figure.panels[0];
  EXPECT_THAT(line_labels(panel), ElementsAre("Finch", "RWKV-4"));
  const Curve &band = panel.curves[1], &line = panel.curves[3];
  EXPECT_THAT(line.x, ElementsAre(32, 64));
  EXPECT_THAT(line.y, ElementsAre(DoubleNear(0.5, 1e-12), DoubleNear(0.55, 1e-12)));
  EXPECT_THAT(band.top, ElementsAre(DoubleNear(0.51, 1e-12), DoubleNear(0.56, 1e-12)));
  EXPECT_THAT(panel.x.tics, ElementsAre(Pair(32, "32"), Pair(64, "64")));
  EXPECT_TRUE(line.has_points);
}

TEST_F(SweepPlots, AccuracyOverCategoriesAndReducedAxes) {
  accuracy_.x = "mixer";
  accuracy_.panels = "train.learning_rate";
  const Figure figure = accuracy_figure(accuracy_);
  ASSERT_EQ(figure.panels.size(), 2U);
  EXPECT_THAT(figure.panels[0].x.tics, ElementsAre(Pair(0, "Finch"), Pair(1, "RWKV-4")));
  EXPECT_THAT(figure.panels[1].curves[2].y, ElementsAre(DoubleNear(0.92, 1e-12), DoubleNear(0.48, 1e-12)));
  accuracy_.logarithmic_x = true;
  EXPECT_THAT(message_of<ConfigError>([&] { accuracy_figure(accuracy_); }), HasSubstr("no numbers: Finch and RWKV-4"));
}

TEST_F(SweepPlots, BadOptions) {
  accuracy_.x = "model.widht";
  EXPECT_THAT(message_of<ConfigError>([&] { accuracy_figure(accuracy_); }), HasSubstr("did you mean 'model.width'"));
  accuracy_.x = "";
  EXPECT_THROW(accuracy_figure(accuracy_), ConfigError);
  curves_.group = {"mixer"};
  EXPECT_THAT(message_of<ConfigError>([&] { curves_figure(curves_); }), HasSubstr("would be averaged"));
  curves_.group = {};
  curves_.x = "time";
  EXPECT_THAT(message_of<ConfigError>([&] { curves_figure(curves_); }), HasSubstr("step or tokens"));
  curves_.x = "step";
  curves_.metrics = {"eval/perplexity"};
  EXPECT_THAT(message_of<ConfigError>([&] { curves_figure(curves_); }), HasSubstr("Recorded: eval/accuracy"));
  curves_.metrics = {};
  const TemporaryFolder empty;
  write_sweep_record(empty.path(), testing::sample_record());
  curves_.sources = accuracy_.sources = {empty.path()};
  accuracy_.x = "model.width";
  EXPECT_THROW(curves_figure(curves_), DataError);
  EXPECT_THROW(accuracy_figure(accuracy_), DataError);
}

TEST_F(SweepPlots, AreDrawn) {
  curves_.panels = "model.width";
  curves_.output = folder_ / "curves.svg";
  EXPECT_TRUE(std::filesystem::exists(plot_curves(curves_).figure));
  accuracy_.logarithmic_x = true;
  accuracy_.output = folder_ / "accuracy.svg";
  EXPECT_TRUE(std::filesystem::exists(plot_accuracy(accuracy_).figure));
}

}  // namespace
}  // namespace rwkvlab
