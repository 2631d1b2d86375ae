#include "analysis/figure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <set>

#include "analysis/gnuplot.h"
#include "base/error.h"
#include "tests/record/test_files.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {

using ::testing::AllOf;
using testing::bytes_of;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Figure small_figure() {
  Figure figure;
  Panel panel;
  panel.x = {"step", false, std::nullopt};
  panel.y = {"loss (nats)", true, std::pair{0.1, 10.0}};
  panel.curves = {{"first", {0, 1, 2}, {1, NAN, 3}, {}}, {"band", {0, 1}, {1, 2}, {3, 4}, 1, 0.3}};
  figure.panels = {panel};
  return figure;
}

bool has_gnuplot() { return std::system("gnuplot --version > /dev/null 2>&1") == 0; }

TEST(Figure, DataHoldsOneBlockPerCurve) {
  EXPECT_EQ(gnuplot_data(small_figure()), "# '' 'first'\n0 1\n1 NaN\n2 3\n\n\n# '' 'band'\n0 1 3\n1 2 4\n");
  Figure empty = small_figure();
  empty.panels[0].curves[0] = {};
  EXPECT_THAT(gnuplot_data(empty), HasSubstr("NaN NaN\n\n\n# '' 'band'")) << "the block stays in its place";
}

TEST(Figure, ScriptSaysWhatToDraw) {
  const std::string script = gnuplot_script(small_figure(), "loss.svg", "loss.dat");
  EXPECT_THAT(script, HasSubstr("set terminal svg "));
  EXPECT_THAT(script, HasSubstr("set output './loss.svg'\n"));
  EXPECT_THAT(script, HasSubstr("set ylabel 'loss (nats)' noenhanced\nset logscale y\n"));
  EXPECT_THAT(script, HasSubstr("set yrange [0.1:10]\n"));
  EXPECT_THAT(script, HasSubstr("'./loss.dat' index 0 using 1:2 with lines lc rgb '#000072b2'"));
  EXPECT_THAT(script, HasSubstr("index 1 using 1:2:3 with filledcurves fc rgb '#d55e00'"));
  EXPECT_THAT(gnuplot_script(small_figure(), "a.PDF", "a.dat"), HasSubstr("set terminal pdfcairo"));
  EXPECT_THAT(gnuplot_script(small_figure(), "a.png", "a.dat"), HasSubstr("set terminal pngcairo"));
}

TEST(Figure, TextOfAxesIsLiteral) {
  Figure figure = small_figure();
  figure.panels[0].y.has_markup = true;
  figure.panels[0].x.tics = {{0, "50 %"}, {1, "a_b"}};
  const std::string script = gnuplot_script(figure, "a.svg", "a.dat");
  EXPECT_THAT(script, HasSubstr("set xlabel 'step' noenhanced\n"));
  EXPECT_THAT(script, HasSubstr("set ylabel 'loss (nats)' enhanced\n"));
  EXPECT_THAT(script, HasSubstr("('50 %%' 0, 'a_b' 1) noenhanced\n"));
}

TEST(Figure, LabelsThatDoNotFitStandUpright) {
  Figure figure = small_figure();
  for (int i = 0; i < 24; ++i) figure.panels[0].x.tics.emplace_back(i, "\\xc3");
  EXPECT_THAT(gnuplot_script(figure, "a.svg", "a.dat"), HasSubstr(") noenhanced rotate by 90 right font ',6'\n"));
  for (auto& tic : figure.panels[0].x.tics) tic.second = "漢";  // Three bytes, but as wide as two letters.
  EXPECT_THAT(gnuplot_script(figure, "a.svg", "a.dat"), HasSubstr(") noenhanced font ',6'\n"));
}

TEST(Figure, HeatMapsOfOneCellAreWideAndHighEnough) {
  Figure figure;
  figure.panels.resize(1);
  figure.panels[0].heat = HeatMap{{{0.5}}, {0, 1}, false, "w"};
  EXPECT_THAT(gnuplot_data(figure), HasSubstr("0.5 0.5\n0.5 0.5\n"));
  figure.panels[0].heat->rows = {{0.25, 0.5}, {0.75, 1}};
  EXPECT_THAT(gnuplot_data(figure), HasSubstr("0.25 0.5 \n0.75 1 \n"));
}

TEST(Figure, QuotedTextCannotLeaveItsString) {
  EXPECT_EQ(gnuplot_quote("it's"), "\"it's\"");
  EXPECT_EQ(gnuplot_quote("'\"`\\@12"), "\"'\\042\\140\\134\\100\\061\\062\"");
  EXPECT_EQ(gnuplot_quote("a\nb`c\"$"), "'a b`c\"$'");
  EXPECT_EQ(gnuplot_quote("größe"), "'größe'");
}

TEST(Figure, ColorsDiffer) {
  Figure figure;
  std::set<std::string> colors;
  for (int i = 0; i < 7; ++i) colors.insert(color_of(figure, i));
  EXPECT_EQ(colors.size(), 7u);
  EXPECT_EQ(color_of(figure, 7), color_of(figure, 0));
  figure = small_figure();
  EXPECT_THAT(gnuplot_script(figure, "a.svg", "a.dat"), Not(HasSubstr("dt ")));
  figure.panels[0].curves[0].color = 7;
  EXPECT_THAT(gnuplot_script(figure, "a.svg", "a.dat"), HasSubstr("dt (4,5)"));
  figure = {};
  figure.coloring = Coloring::ordered;
  figure.colors = 24;
  EXPECT_EQ(color_of(figure, 0), "#440154");
  EXPECT_EQ(color_of(figure, 23), "#bbdf27");
  colors.clear();
  for (int i = 0; i < 24; ++i) colors.insert(color_of(figure, i));
  EXPECT_EQ(colors.size(), 24u);
  figure.colors = 1;
  EXPECT_EQ(color_of(figure, 0), "#440154");
}

TEST(Figure, DrawsAllFormatsAndTheScriptDrawsThemAgain) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed (Debian package gnuplot-nox)";
  const TemporaryFolder folder;
  // A name and labels with everything that a careless script would take for a command.
  const std::string name = "-<echo it's `id` $0 | x>";
  Figure figure = small_figure();
  figure.title = "50 % of 'it' `touch bad1` {/Bold _x}";
  figure.caption = "system('touch bad2')\nsecond line";
  figure.panels[0].title = "\"; system \"touch bad3";
  figure.panels[0].curves[0].label = "'; system 'touch bad4";
  figure.panels[0].curves[1].label = "a''b'' `12 @1";
  const std::pair<const char*, const char*> formats[] = {
      {".svg", "<?xml"}, {".pdf", "%PDF-"}, {".png", "\x89PNG\r\n\x1a\n"}};
  for (const auto& [extension, magic] : formats) {
    const FigureFiles files = draw_figure(figure, folder / (name + extension));
    EXPECT_THAT(bytes_of(files.figure), StartsWith(magic));
    EXPECT_GT(std::filesystem::file_size(files.figure), 2000u);
    EXPECT_EQ(files.script, folder / (name + ".gp"));
    EXPECT_EQ(files.data, folder / (name + ".dat"));
    std::filesystem::remove(files.figure);
    run_gnuplot(files.script);
    EXPECT_THAT(bytes_of(files.figure), StartsWith(magic));
    std::filesystem::remove(files.figure);
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    EXPECT_THAT(entry.path().filename().string(), StartsWith(name)) << "something was executed";
  }
}

TEST(Figure, ErrorsAreClear) {
  const TemporaryFolder folder;
  EXPECT_THAT(message_of<ConfigError>([&] { draw_figure(small_figure(), folder / "figure.jpg"); }),
              HasSubstr(".svg, .pdf or .png"));
  EXPECT_THROW(draw_figure(small_figure(), folder / "figure"), ConfigError);
  EXPECT_THAT(message_of<FileError>([&] { draw_figure(small_figure(), folder / "no/such/figure.svg"); }),
              HasSubstr("there is no folder '" + (folder / "no/such").string() + "'"));
  EXPECT_THROW(draw_figure(Figure{}, folder / "figure.svg"), BugError);
  if (!has_gnuplot()) return;
  folder.make("bad.gp", "plot 'missing.dat'\n");
  EXPECT_THAT(message_of<FileError>([&] { run_gnuplot(folder / "bad.gp"); }), HasSubstr("missing.dat"));
}

TEST(Figure, SaysThatGnuplotWasKilled) {
  const TemporaryFolder folder;
  const auto fake = folder.make("bin/gnuplot", "#!/bin/sh\necho half way\nkill -9 $$\n");
  std::filesystem::permissions(fake, std::filesystem::perms::owner_all);
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", (folder / "bin").c_str(), 1);
  const std::string message = message_of<FileError>([&] { draw_figure(small_figure(), folder / "figure.svg"); });
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_THAT(message, AllOf(HasSubstr("signal 9"), HasSubstr("half way")));
}

TEST(Figure, MissingGnuplotNamesThePackageAndKeepsTheScript) {
  const TemporaryFolder folder;
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", folder.path().c_str(), 1);
  const std::string message = message_of<FileError>([&] { draw_figure(small_figure(), folder / "figure.svg"); });
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_THAT(message, HasSubstr("gnuplot-nox"));
  EXPECT_TRUE(std::filesystem::exists(folder / "figure.gp"));
  EXPECT_TRUE(std::filesystem::exists(folder / "figure.dat"));
  EXPECT_FALSE(std::filesystem::exists(folder / "figure.svg"));
}

}  // namespace
}  // namespace rwkvlab
