// Tables over runs whose numbers are known by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "analysis/display_width.h"
#include "analysis/sweep_tables.h"
#include "analysis/table_format.h"
#include "base/error.h"
#include "base/file.h"
#include "tests/analysis/sweep_sample.h"

namespace rwkvlab {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using Names = std::vector<std::string>;

class SweepTable : public ::testing::Test {
 protected:
  SweepTable() { testing::write_sample_sweep(sweep()); }
  std::filesystem::path sweep() const { return folder_ / "sweep"; }
  std::filesystem::path run(const std::string& name) const { return sweep() / "runs" / name; }
  TableOptions options() const {
    TableOptions options;
    options.sources = {sweep()};
    return options;
  }
  std::string text(const TableOptions& options) const { return format_table(make_table(options), TableFormat::text); }

  TemporaryFolder folder_;
};

TEST(MeanAndDeviation, OfASample) {
  const MeanAndDeviation result = mean_and_deviation({1, 2, 6});
  EXPECT_DOUBLE_EQ(result.mean, 3);
  EXPECT_DOUBLE_EQ(result.deviation.value(), std::sqrt(7.0));  // (4 + 1 + 9) / 2.
  EXPECT_FALSE(mean_and_deviation({5}).deviation);
  EXPECT_TRUE(std::isnan(mean_and_deviation({}).mean));
}

TEST(DisplayWidth, CountsColumns) {
  EXPECT_EQ(display_width("0.9 ± 0.1"), 9U);
  EXPECT_EQ(display_width("e\u0301—"), 2U);
  EXPECT_EQ(display_width("漢字"), 4U);
  EXPECT_EQ(display_width("\xff"), 1U);
}

TEST_F(SweepTable, MeansOverSeedsOfTheBestRate) {
  TableOptions wanted = options();
  wanted.columns = Names{"model.width"};
  wanted.show = Names{"best_of", "runs"};
  wanted.title = "Recall";
  EXPECT_EQ(text(wanted),
            "Recall\n\n"
            "mixer      width 32      width 64   best train.learning_rate  runs\n"
            "──────────────────────────────────────────────────────────────────\n"
            "Finch   0.92 ± 0.01*  0.97 ± 0.01*                     0.003   3/3\n"
            "RWKV-4  0.50 ± 0.01   0.55 ± 0.01                      0.001   3/3\n"
            "──────────────────────────────────────────────────────────────────\n"
            "eval/accuracy: last record of each run; mean ± standard deviation over 3 seeds. Marked: the best of each "
            "column.\n"
            "Of train.learning_rate, the value with the highest mean eval/accuracy is shown.\n");
}

TEST_F(SweepTable, AnAxisThatIsShownIsNotReduced) {
  TableOptions wanted = options();
  wanted.columns = Names{"train.learning_rate"};
  wanted.digits = 3;
  const Table table = make_table(wanted);
  EXPECT_THAT(table.row_axes, ElementsAre("mixer", "model.width"));
  EXPECT_EQ(cell_text(table, table.cell(1, 1, 0), 0), "0.970 ± 0.010");
  EXPECT_EQ(cell_text(table, table.cell(3, 1, 0), 0), "0.530 ± 0.010");
  EXPECT_TRUE(table.cell(3, 1, 0).chosen.empty());
}

TEST_F(SweepTable, EverySeedMayChooseItsOwnBest) {
  SweepRecord record = testing::sample_record();
  record.best_of->per_seed = true;
  write_sweep_record(sweep(), record);
  // Finch of width 32 with the seed 2 is better at the small rate.
  testing::write_sample_run(run("Finch-32-0.001/seed-2"), testing::sample_config(32, 0.001, 2), {{0.1, 0.98}});
  const Table table = make_table(options());
  EXPECT_EQ(table.cell(0, 0, 0).chosen, "0.003 (2), 0.001 (1)");
  EXPECT_NEAR(table.cell(0, 0, 0).statistics.mean, (0.91 + 0.98 + 0.93) / 3, 1e-12);  // Rounding of a sum.
}

TEST_F(SweepTable, WhatIsMissingIsCounted) {
  const auto config = [](int seed) { return testing::sample_config(32, 0.003, seed); };
  testing::write_sample_run(run("Finch-32-0.003/seed-1"), config(1), {{0.5}, RunStatus::diverged});
  testing::write_text(run("Finch-32-0.003/seed-1/status.json"),
                      R"({"status": "diverged", "message": "the loss is not finite at step 7. Try\nmore"})");
  std::filesystem::remove_all(run("Finch-32-0.001"));
  for (const int seed : {1, 2, 3}) {
    for (const char* const rate : {"0.001", "0.003"}) {
      testing::write_sample_run(run(fmt::format("RWKV-4-32-{}/seed-{}", rate, seed)),
                                testing::sample_config(32, std::stod(rate), seed), {{0.9}, RunStatus::interrupted});
    }
  }
  testing::write_sample_run(run("RWKV-4-64-0.001/seed-3"), testing::sample_config(64, 0.001, 3), {{0.3, NAN}});
  TableOptions wanted = options();
  wanted.columns = Names{"model.width"};
  wanted.show = Names{"runs"};
  const std::string table = text(wanted);
  EXPECT_THAT(table, HasSubstr("0.93 ± 0.01 (2/3)"));
  EXPECT_THAT(table, HasSubstr("— (0/3)"));
  EXPECT_THAT(table, HasSubstr("2/3, 1 failed"));
  EXPECT_THAT(table,
              HasSubstr("1 run failed (diverged: the loss is not finite at step 7): runs/Finch-32-0.003/seed-1.\n"));
  EXPECT_THAT(table, HasSubstr("3 runs not started: runs/Finch-32-0.001/seed-1, "));
  EXPECT_THAT(table, HasSubstr("6 runs interrupted: "));
  // A rate with all its seeds comes before a better one with fewer.
  EXPECT_THAT(table, HasSubstr("0.53 ± 0.01"));
  EXPECT_EQ(make_table(wanted).cell(1, 1, 0).chosen, "0.003");
}

TEST_F(SweepTable, SizesComeFromTheConfigurations) {
  TableOptions wanted = options();
  wanted.columns = Names{"model.width"};
  wanted.show = Names{"parameters", "flops", "state", "steps"};
  const Table table = make_table(wanted);
  // Parameters of RWKV-4 (arXiv:2305.13048): 2 V D + 13 D² L + D (11 L + 4).
  EXPECT_EQ(table.cell(0, 0, 0).size->parameters, 2 * 16 * 32 + 13 * 32 * 32 + 32 * 15);
  EXPECT_EQ(table.cell(0, 0, 0).size->flops_per_token, 2 * (16 * 32 + 13 * 32 * 32));
  EXPECT_THAT(
      table_grid(table).header,
      ElementsAre("mixer", "width 32", "width 64", "width 32, parameters", "width 64, parameters",
                  "width 32, FLOPs/token", "width 64, FLOPs/token", "width 32, state", "width 64, state", "steps"));
}

TEST_F(SweepTable, ValueRules) {
  TableOptions wanted = options();
  testing::write_sample_run(run("Finch-32-0.003/seed-1"), testing::sample_config(32, 0.003, 1),
                            {{0.99, 0.8}, RunStatus::done, 2.0});
  wanted.value = "best";
  Table table = make_table(wanted);
  EXPECT_EQ(table.cell(0, 0, 0).statistics.entries[0].value.value, 0.99);
  EXPECT_EQ(table.cell(0, 0, 0).statistics.entries[0].value.step, 50);
  wanted.metrics = Names{"train/loss", "train/tokens_seen"};
  EXPECT_THAT(message_of<ConfigError>([&] { make_table(wanted); }), HasSubstr("--best max or --best min"));
  wanted.value = "first";
  table = make_table(wanted);
  // Titles are what tells the metrics apart.
  EXPECT_THAT(table_grid(table).header, AllOf(Contains(EndsWith("tokens_seen")), Not(Contains(HasSubstr("train/")))));
  EXPECT_EQ(table.cell(0, 0, 0).statistics.mean, 2);
  EXPECT_TRUE(table.cell(0, 0, 0).is_best);   // A low loss is good.
  EXPECT_FALSE(table.cell(2, 0, 0).is_best);  // RWKV-4.
  EXPECT_FALSE(table.cell(0, 0, 1).is_best);  // Nobody knows about tokens.
  wanted.best = "none";
  EXPECT_FALSE(make_table(wanted).cell(0, 0, 0).is_best);
}

TEST_F(SweepTable, BadNamesHaveANearestOne) {
  const auto message = [this](auto change) {
    TableOptions wanted = options();
    change(wanted);
    return message_of<ConfigError>([&] { make_table(wanted); });
  };
  EXPECT_THAT(message([](auto& o) { o.metrics = Names{"eval/acuracy"}; }), HasSubstr("did you mean 'eval/accuracy'"));
  EXPECT_THAT(message([](auto& o) { o.rows = Names{"mixr"}; }), HasSubstr("did you mean 'mixer'"));
  EXPECT_THAT(message([](auto& o) { o.show = Names{"parameter"}; }), HasSubstr("did you mean 'parameters'"));
  EXPECT_THAT(message([](auto& o) { o.value = "lst"; }), HasSubstr("--value"));
  EXPECT_THAT(message([](auto& o) { o.best = "up"; }), HasSubstr("--best"));
  EXPECT_THAT(message([](auto& o) { o.digits = 99; }), HasSubstr("--digits 99"));
  EXPECT_THAT(message([](auto& o) { o.rows = o.columns = Names{"mixer"}; }), HasSubstr("both rows and columns"));
  EXPECT_THAT(message([](auto& o) { o.rows = Names{"mixer", "mixer"}; }), HasSubstr("twice"));
  EXPECT_THAT(message([](auto& o) { o.rows = Names{"mixer"}; }),
              AllOf(HasSubstr("'model.width'"), HasSubstr("--rows model.width"), HasSubstr("Finch-64")));
  EXPECT_THROW(table_format("html"), ConfigError);
  EXPECT_EQ(table_format("latex"), TableFormat::latex);
}

TEST_F(SweepTable, RefusesRunsThatAreNotItsOwn) {
  testing::write_sample_run(run("Finch-32-0.003/seed-1"), testing::sample_config(48, 0.003, 1), {{0.99}});
  EXPECT_THAT(message_of<DataError>([&] { make_table(options()); }),
              AllOf(HasSubstr("Finch-32-0.003/seed-1"), HasSubstr("'model.width'")));
  testing::write_sample_run(run("Finch-32-0.003/seed-1"), testing::sample_config(32, 0.003, 2), {{0.99}});
  EXPECT_THAT(message_of<DataError>([&] { make_table(options()); }), HasSubstr("'seed'"));
}

TEST_F(SweepTable, RefusesRunsOfAnotherExperiment) {
  // What no variant sets is known from the experiment file of the variant alone.
  const auto seed = run("Finch-32-0.003/seed-1");
  std::string experiment = testing::sample_config(32, 0.003, 1);
  experiment.erase(experiment.find("seed: 1\n"), 8);
  testing::write_text(sweep() / "experiments/Finch-32-0.003.yaml", experiment);
  EXPECT_NO_THROW(make_table(options()));
  std::string config = testing::sample_config(32, 0.003, 1, "log: {every: 7}\n");
  config.replace(config.find("steps: 100"), 10, "steps: 200");  // As a run that was continued.
  testing::write_sample_run(seed, config, {{0.99}});
  EXPECT_NO_THROW(make_table(options()));
  testing::write_sample_run(seed, testing::sample_config(32, 0.003, 1, "eval: {batches: 7}\n"), {{0.99}});
  EXPECT_THAT(
      message_of<DataError>([&] { make_table(options()); }),
      AllOf(HasSubstr("Finch-32-0.003/seed-1"), HasSubstr("eval.batches: "), HasSubstr("-> 7"), HasSubstr("--resume")));
}

TEST_F(SweepTable, ADamagedFileCostsItsOwnRunAlone) {
  const auto seed = run("Finch-32-0.003/seed-1");
  std::filesystem::resize_file(seed / "run.h5", std::filesystem::file_size(seed / "run.h5") / 2);
  testing::write_text(run("RWKV-4-32-0.003/seed-1/status.json"), "{\"sta");
  std::filesystem::remove_all(run("Finch-32-0.001"));  // A rate with all its seeds would come first.
  const std::string table = text(options());
  EXPECT_THAT(table, AllOf(HasSubstr("0.93 ± 0.01 (2/3)"), HasSubstr("1 run failed (run.h5 cannot be read)"),
                           HasSubstr("Remove the folder runs/Finch-32-0.003/seed-1 and run the sweep again"),
                           HasSubstr("runs/RWKV-4-32-0.003/seed-1/status.json cannot be read")));
}

TEST_F(SweepTable, StepsAreThoseThatWereDone) {
  TableOptions wanted = options();
  wanted.show = Names{"steps"};
  testing::write_text(run("Finch-32-0.003/seed-1/status.json"), R"({"status": "done", "step": 100, "steps": 200})");
  EXPECT_EQ(make_table(wanted).cell(0, 0, 0).steps, "100");
  testing::write_text(run("Finch-32-0.003/seed-1/status.json"), R"({"status": "done", "step": 130, "steps": 200})");
  EXPECT_EQ(make_table(wanted).cell(0, 0, 0).steps, "110 ± 17");  // sqrt((20² + 10² + 10²) / 2) = 17.3.
}

TEST_F(SweepTable, SmallValuesAreNotZero) {
  Table table;
  table.digits = {3};
  TableCell cell;
  cell.exists = true;
  cell.statistics.expected = 2;
  cell.statistics.entries.resize(2);
  cell.statistics.mean = 1e-5;
  cell.statistics.deviation = 0;
  EXPECT_EQ(cell_text(table, cell, 0), "1e-05 ± 0");
  cell.statistics.deviation = 0.2;  // Then zero is what it is.
  EXPECT_EQ(cell_text(table, cell, 0), "0.000 ± 0.200");
}

TEST_F(SweepTable, LabelsStayInOneLine) {
  SweepRecord record = testing::sample_record();
  for (SweepRun& planned : record.runs) planned.axes[0].label += "\nmixer";
  write_sweep_record(sweep(), record);
  TableOptions wanted = options();
  wanted.title = "two\nlines";
  const Table table = make_table(wanted);
  EXPECT_THAT(format_table(table, TableFormat::text), AllOf(HasSubstr("two lines\n"), HasSubstr("\nFinch mixer ")));
  EXPECT_THAT(format_table(table, TableFormat::markdown), HasSubstr("\n| Finch mixer |"));
  const std::string latex = format_table(table, TableFormat::latex);
  EXPECT_THAT(latex, AllOf(HasSubstr("% two lines\n"), HasSubstr("\nFinch mixer & ")));
  // Notes as wide as a page stay out of the tabular.
  EXPECT_GT(latex.find("last record of each run"), latex.find("\\end{tabular}"));
}

TEST_F(SweepTable, NotesDifferentNumbersOfSteps) {
  testing::write_sample_run(run("Finch-32-0.003/seed-1"), testing::sample_config(32, 0.003, 1, "log: {every: 7}\n"),
                            {{0.99}});
  EXPECT_THAT(text(options()), Not(HasSubstr("different numbers of steps")));
  std::string config = testing::sample_config(32, 0.003, 1);
  config.replace(config.find("steps: 100"), 10, "steps: 200");
  testing::write_sample_run(run("Finch-32-0.003/seed-1"), config, {{0.99}});
  EXPECT_THAT(text(options()), HasSubstr("different numbers of steps: 100 (runs/Finch-32-0.001/seed-1) and 200 "
                                         "(runs/Finch-32-0.003/seed-1)."));
}

TEST_F(SweepTable, EveryFormat) {
  TableOptions wanted = options();
  wanted.columns = Names{"model.width"};
  wanted.title = "A_b";
  const Table table = make_table(wanted);
  EXPECT_THAT(format_table(table, TableFormat::markdown),
              HasSubstr("**A_b**\n\n| mixer | width 32 | width 64 |\n| :-- | --: | --: |\n"
                        "| Finch | **0.92 ± 0.01** | **0.97 ± 0.01** |\n| RWKV-4 | 0.50 ± 0.01 | 0.55 ± 0.01 |\n"));
  EXPECT_THAT(format_table(table, TableFormat::latex),
              AllOf(HasSubstr("\\begin{tabular}{lrr}"), HasSubstr("Finch & \\textbf{0.92 $\\pm$ 0.01} & "),
                    HasSubstr("train.learning\\_rate")));
  const auto json = nlohmann::json::parse(format_table(table, TableFormat::json));
  ASSERT_EQ(json["cells"].size(), 4U);
  const auto& cell = json["cells"][1];
  EXPECT_EQ(cell["row"]["mixer"], "Finch");
  EXPECT_EQ(cell["column"]["model.width"], "64");
  EXPECT_NEAR(cell["mean"], 0.97, 1e-12);  // Rounding of a sum, here and below.
  EXPECT_NEAR(cell["std"], 0.01, 1e-12);
  EXPECT_EQ(cell["n"], 3);
  EXPECT_EQ(cell["runs"][0]["run_file"], "runs/Finch-64-0.003/seed-1/run.h5");
  EXPECT_EQ(cell["runs"][0]["series"], "metrics/eval/accuracy");
  EXPECT_EQ(cell["runs"][0]["step"], 100);
  EXPECT_NEAR(cell["runs"][0]["value"], 0.96, 1e-12);
  const std::string csv = format_table(table, TableFormat::csv);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 5);
  EXPECT_THAT(csv, AllOf(HasSubstr("mixer,model.width,metric,value,mean,std,n,"),
                         HasSubstr(";runs/Finch-64-0.003/seed-2/run.h5;")));
}

TEST_F(SweepTable, TheSectionOfTheSweepIsTheDefault) {
  SweepRecord record = testing::sample_record();
  record.table.columns = {"model.width"};
  record.table.title = "From the file, \"quoted\" & | so";
  record.table.metrics = {"eval/accuracy", "train/loss"};
  write_sweep_record(sweep(), record);
  const std::string written = write_sweep_tables(sweep());
  EXPECT_EQ(read_text(sweep() / "table.txt"), written);
  EXPECT_THAT(written, AllOf(HasSubstr("From the file"), HasSubstr("width 64, train/loss")));
  EXPECT_THAT(read_text(sweep() / "table.md"), HasSubstr("& \\| so"));
  EXPECT_THAT(read_text(sweep() / "table.tex"), HasSubstr("\\par{\\footnotesize eval/accuracy, "));
  EXPECT_THAT(read_text(sweep() / "table.json"), HasSubstr("\\\"quoted\\\""));
  // An option moves an axis from where the section has it.
  TableOptions wanted = options();
  wanted.rows = Names{"model.width", "mixer"};
  const Table table = make_table(wanted);
  EXPECT_TRUE(table.column_axes.empty());
  EXPECT_THAT(table.rows[1], ElementsAre("32", "RWKV-4"));
}

TEST(SweepTables, ASweepWithoutResultsHasATableToo) {
  const TemporaryFolder folder;
  write_sweep_record(folder.path(), testing::sample_record());
  const std::string text = write_sweep_tables(folder.path());
  EXPECT_THAT(text, AllOf(HasSubstr("— (0/3)"), HasSubstr("24 runs not started")));
}

class RunTable : public ::testing::Test {
 protected:
  void add(const std::string& name, const std::string& config, double accuracy) {
    testing::write_sample_run(folder_ / name, config, {{accuracy}});
    options_.sources.push_back(folder_ / name);
  }
  TemporaryFolder folder_;
  TableOptions options_;
};

TEST_F(RunTable, RowsAreTheKeysThatDiffer) {
  add("a1", testing::sample_config(32, 0.001, 1), 0.5);
  add("a2", testing::sample_config(32, 0.001, 2), 0.7);
  add("b", testing::sample_config(64, 0.002, 1), 0.9);
  options_.sources[1] /= "run.h5";
  const Table table = make_table(options_);
  EXPECT_THAT(table.row_axes, ElementsAre("model.width"));  // The rate changes with the width.
  EXPECT_EQ(cell_text(table, table.cell(0, 0, 0), 0), "0.60 ± 0.14");
  EXPECT_EQ(cell_text(table, table.cell(1, 0, 0), 0), "0.90");
}

TEST_F(RunTable, OnlySeedsMakeOneRow) {
  add("a1", testing::sample_config(32, 0.001, 1), 0.5);
  add("a2", testing::sample_config(32, 0.001, 2), 0.7);
  const Table table = make_table(options_);
  EXPECT_EQ(table.cells.size(), 1U);
  EXPECT_EQ(table.cells[0].statistics.count(), 2);
  options_.rows = Names{"model.width"};
  EXPECT_THAT(make_table(options_).rows[0], ElementsAre("32"));
  options_.rows = Names{"model.width", "train.batch"};
  EXPECT_NO_THROW(make_table(options_));
}

TEST_F(RunTable, RefusesWhatDoesNotCompare) {
  add("a", testing::sample_config(32, 0.001, 1), 0.5);
  options_.sources.push_back(folder_ / "a");
  EXPECT_THAT(message_of<ConfigError>([&] { make_table(options_); }), HasSubstr("the same run"));
  options_.sources.pop_back();
  add("copy", testing::sample_config(32, 0.001, 1), 0.5);
  EXPECT_THAT(message_of<ConfigError>([&] { make_table(options_); }), HasSubstr("the same seed (1)"));
  options_.sources.pop_back();
  add("wide", testing::sample_config(64, 0.002, 1), 0.5);
  add("slow", testing::sample_config(64, 0.001, 1), 0.5);
  options_.rows = Names{"train.learning_rate"};
  EXPECT_THAT(
      message_of<ConfigError>([&] { make_table(options_); }),
      AllOf(HasSubstr("'model.width'"), HasSubstr("/a'"), HasSubstr("/slow'"), HasSubstr("--rows model.width")));
  options_.rows.reset();
  add("other", testing::sample_config(32, 0.001, 2, "eval: {batches: 7}\n"), 0.5);
  EXPECT_THAT(message_of<ConfigError>([&] { make_table(options_); }),
              AllOf(HasSubstr("eval.batches"), HasSubstr("7 in"), HasSubstr("--rows eval.batches")));
  options_.rows = Names{"eval.batches", "model.width", "train.learning_rate"};
  EXPECT_EQ(make_table(options_).rows.size(), 4U);
  options_.sources = {folder_.path()};
  EXPECT_THAT(message_of<DataError>([&] { make_table(options_); }), HasSubstr("neither a sweep folder"));
  options_.sources = {folder_ / "missing"};
  EXPECT_THROW(make_table(options_), DataError);
  options_.sources.clear();
  EXPECT_THROW(make_table(options_), ConfigError);
}

TEST_F(RunTable, HowOftenRunsAreEvaluatedIsNoReasonToRefuse) {
  add("a", testing::sample_config(32, 0.001, 1), 0.5);
  add("b", testing::sample_config(32, 0.001, 1, "eval: {every: 7}\n"), 0.7);
  EXPECT_THAT(make_table(options_).row_axes, ElementsAre("eval.every"));
}

TEST_F(RunTable, RunsOfSeveralSweeps) {
  testing::write_sample_sweep(folder_ / "first");
  SweepRecord record = testing::sample_record();
  record.runs.resize(3);
  write_sweep_record(folder_ / "first", record);
  add("b", testing::sample_config(64, 0.001, 1), 0.9);
  options_.sources.insert(options_.sources.begin(), folder_ / "first");
  const Table table = make_table(options_);
  EXPECT_THAT(table.rows, ElementsAre(ElementsAre("32"), ElementsAre("64")));
  EXPECT_EQ(table.cells[0].statistics.count(), 3);
}

}  // namespace
}  // namespace rwkvlab
