// sweep.yaml: what is written is read back, and what cannot be read is refused with its name.
#include "sweep/sweep_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Node map(const std::string& key, Node value) {
  Node result{Node::Map{}};
  result.insert(key, std::move(value));
  return result;
}

SweepRecord sample() {
  SweepRecord record;
  record.name = "widths: \"odd\"";
  record.experiment = map("model", map("kind", Node("language_model")));
  record.sweep = map("grid", map("model.width", Node(Node::List{Node(32), Node(64)})));
  record.axes = {"model.width", "mixer"};
  record.best_of = BestOf{{"model.width"}, "eval/loss", false, true};
  record.table.rows = {"mixer"};
  record.table.show = {"parameters", "runs"};
  record.table.digits = 3;
  for (const std::uint64_t seed : {std::uint64_t{1}, ~std::uint64_t{0}}) {
    SweepRun run;
    run.variant = "Finch, 32";
    run.axes = {{"model.width", Node(32), "32"}, {"mixer", Node("Finch"), "Finch"}};
    run.seed = seed;
    run.folder = "runs/Finch-32/seed-" + std::to_string(seed);
    run.settings = map("model.width", Node(32));
    record.runs.push_back(run);
  }
  return record;
}

TEST(SweepRecord, IsReadAsItWasWritten) {
  const TemporaryFolder folder;
  const SweepRecord before = sample();
  EXPECT_FALSE(is_sweep_folder(folder.path()));
  write_sweep_record(folder.path(), before);
  ASSERT_TRUE(is_sweep_folder(folder.path()));
  const SweepRecord after = read_sweep_record(folder.path());
  EXPECT_EQ(after.text(), before.text());
  EXPECT_EQ(after.name, before.name);
  EXPECT_EQ(after.experiment, before.experiment);
  EXPECT_THAT(after.axes, ElementsAre("model.width", "mixer"));
  ASSERT_TRUE(after.best_of);
  EXPECT_FALSE(after.best_of->maximize);
  EXPECT_TRUE(after.best_of->per_seed);
  EXPECT_EQ(after.table.digits, 3);
  ASSERT_EQ(after.runs.size(), 2U);
  EXPECT_EQ(after.runs[1].seed, ~std::uint64_t{0});
  EXPECT_EQ(after.runs[1].folder, before.runs[1].folder);
  EXPECT_EQ(after.runs[1].settings, before.runs[1].settings);
  EXPECT_EQ(after.runs[1].axes[1].value, Node("Finch"));
}

TEST(SweepRecord, IsFoundByItsFolderAndItsName) {
  const TemporaryFolder folder;
  write_sweep_record(folder.path(), sample());
  EXPECT_EQ(sweep_folder_of(folder.path()), folder.path());
  EXPECT_EQ(sweep_folder_of(folder / "sweep.yaml"), folder.path());
  EXPECT_EQ(sweep_folder_of(folder / "other.yaml"), "");
  EXPECT_EQ(sweep_folder_of(folder.make("own/sweep.yaml", "model: {layers: 1}\nsweep: {seeds: 2}\n")), "")
      << "an experiment file of that name";
}

TEST(SweepRecord, MissingDamagedAndForeignRecordsAreRefused) {
  const TemporaryFolder folder;
  const auto read = [&] { read_sweep_record(folder.path()); };
  EXPECT_THAT(message_of<DataError>(read), HasSubstr("is no sweep folder"));
  folder.make("sweep.yaml", "version: 2\nvariants: 5\n");
  EXPECT_THAT(message_of<ConfigError>(read), AllOf(HasSubstr("version 2"), HasSubstr("knows version 1")));
  folder.make("sweep.yaml", "name: x\n");
  EXPECT_THAT(message_of<DataError>(read), HasSubstr("it has no version"));
  folder.make("sweep.yaml", "version: [1\n");
  EXPECT_THAT(message_of<DataError>(read), HasSubstr("damaged"));
  folder.make("sweep.yaml", "version: 1\nname: x\nvariants: [{label: a, runs: [{seed: -1}]}]\n");
  EXPECT_THAT(message_of<DataError>(read), AllOf(HasSubstr("damaged"), HasSubstr("sweep.yaml:3")));
}

}  // namespace
}  // namespace rwkvlab
