// Whole trainings in this process: what they leave in the run folder.
#include "run/run_experiment.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "config/yaml_reader.h"
#include "record/run_file_reader.h"
#include "run/data_files.h"
#include "run/statistics.h"
#include "tests/run/make_experiment.h"

namespace rwkvlab {
namespace {
using testing::AllOf;
using testing::Contains;
using testing::DoubleNear;
using testing::Each;
using testing::ElementsAre;
using testing::Gt;
using testing::HasSubstr;
using testing::SizeIs;

constexpr const char* records =
    "log:\n"
    "  every: 3\n"
    "  decays_every: 6\n"
    "  statistics_every: 6\n"
    "  states_every: 6\n"
    "  probes:\n"
    "    - {match: \"blocks.*.att.wkv\", every: 4, as: raw}\n"
    "    - {match: \"blocks.0.*\", every: 6, as: histogram, bins: 5}\n"
    "    - {match: \"blocks.0.output\", every: 6, as: histogram, bins: 9}\n"
    "    - {match: head.output, every: 12, as: statistics}\n";

class Run : public testing::Test {
 protected:
  RunResult run(const std::string& name, const std::vector<std::string>& settings = {}, bool resume = false,
                const std::atomic<bool>* stop = nullptr) {
    RunOptions options;
    options.folder = folder_ / name;
    options.resume = resume;
    options.stop = stop;
    options.output = -1;
    return run_experiment(load_experiment(file_, settings), options);
  }
  std::string bytes(const std::string& name) const { return read_text(folder_ / name); }

  TemporaryFolder folder_;
  const std::filesystem::path file_ = make_small_experiment(folder_, records);
};

TEST_F(Run, RecordsWhatTheLogSectionAsksFor) {
  const RunResult result = run("a");
  EXPECT_EQ(result.outcome, TrainingOutcome::finished);
  EXPECT_EQ(result.step, 12);
  ASSERT_TRUE(result.evaluation.has_value());
  const RunFileReader reader(result.run_file);
  EXPECT_EQ(reader.status(), RunStatus::done);
  EXPECT_EQ(reader.last_step(), 12);
  EXPECT_EQ(reader.config(), bytes("a/resolved.yaml"));
  EXPECT_THAT(reader.steps("metrics/train/loss"), ElementsAre(1, 3, 6, 9, 12));
  EXPECT_EQ(reader.info("metrics/train/loss").unit, "nats per token");
  EXPECT_THAT(reader.scalars("metrics/train/gradient_norm").values, Each(Gt(0.0)));
  EXPECT_EQ(reader.scalars("metrics/train/tokens_seen").values.back(), 12 * 32);
  EXPECT_THAT(reader.steps("metrics/eval/loss"), ElementsAre(4, 8, 12));
  EXPECT_EQ(reader.scalars("metrics/eval/bits_per_byte").values.back(), result.evaluation->bits_per_byte);
  EXPECT_EQ(reader.scalars("metrics/eval/bits_per_character").values.back(), result.evaluation->bits_per_character);
  EXPECT_FALSE(reader.has("metrics/train/tokens_per_second"));
  EXPECT_THAT(reader.steps("decay/blocks.1.att.time_decay"), ElementsAre(0, 6, 12));
  // The first channel's decay starts at -5 in every layer.
  EXPECT_EQ(reader.tensor("decay/blocks.1.att.time_decay", 0).values.front(), -5.0F);
  EXPECT_THAT(reader.steps("statistics/emb.weight/norm"), ElementsAre(0, 6, 12));
  EXPECT_THAT(reader.steps("probes/blocks.1.att.wkv"), ElementsAre(4, 8, 12));
  EXPECT_EQ(reader.info("probes/blocks.1.att.wkv").shape, (std::vector<std::int64_t>{2, 16, 8}));
  EXPECT_THAT(reader.info("probes/blocks.1.att.wkv").dimensions, ElementsAre("batch", "time", "channel"));
  // Two entries match this path; the first decides.
  EXPECT_THAT(reader.histogram("histograms/blocks.0.output").counts, SizeIs(5));
  EXPECT_THAT(reader.steps("statistics/head.output/mean"), ElementsAre(12));
  EXPECT_THAT(reader.steps("states/blocks.1.att.wkv"), ElementsAre(6, 12));
  EXPECT_EQ(reader.info("states/blocks.1.att.wkv").shape, (std::vector<std::int64_t>{3, 8}));
  const Environment environment = reader.environment();
  for (const char* key :
       {"version", "git_commit", "compiler", "instruction_set", "onednn", "processor", "threads", "seed"}) {
    EXPECT_TRUE(environment.count(key) == 1) << key;
  }
}

TEST_F(Run, EqualRunsHaveEqualFiles) {
  run("a");
  run("b");
  EXPECT_EQ(bytes("a/run.h5"), bytes("b/run.h5"));
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "state.json"}) {
    EXPECT_EQ(bytes(std::string("a/checkpoints/step-00000012/") + file),
              bytes(std::string("b/checkpoints/step-00000012/") + file));
  }
}

TEST_F(Run, SpeedIsRecordedOnRequest) {
  const RunFileReader reader(run("a", {"log.speed=true"}).run_file);
  EXPECT_THAT(reader.scalars("metrics/train/tokens_per_second").values, Each(Gt(0.0)));
}

TEST_F(Run, InterruptedAndResumedEqualsStraight) {
  const RunResult straight = run("straight");
  const std::atomic<bool> stop{true};
  // Step 6 is due for every record, so that ending there leaves no record that the straight run lacks.
  run("pieces", {"train.steps=6"});
  // A flag that is set already ends the run before its first step, with what there is.
  const RunResult interrupted = run("pieces", {}, true, &stop);
  EXPECT_EQ(interrupted.outcome, TrainingOutcome::interrupted);
  EXPECT_EQ(RunFileReader(interrupted.run_file).status(), RunStatus::interrupted);
  const RunResult resumed = run("pieces", {}, true);
  EXPECT_EQ(resumed.step, 12);
  EXPECT_EQ(RunFileReader(resumed.run_file).config(), bytes("pieces/resolved.yaml"));
  EXPECT_EQ(bytes("straight/checkpoints/step-00000012/optimizer.safetensors"),
            bytes("pieces/checkpoints/step-00000012/optimizer.safetensors"));
  const RunFileReader a(straight.run_file), b(resumed.run_file);
  for (const char* series : {"metrics/train/loss", "metrics/train/gradient_norm", "statistics/emb.weight/norm"}) {
    EXPECT_EQ(a.steps(series), b.steps(series));
    EXPECT_EQ(a.scalars(series).values, b.scalars(series).values);
  }
  EXPECT_EQ(a.steps("probes/blocks.1.att.wkv"), b.steps("probes/blocks.1.att.wkv"));
}

TEST_F(Run, DivergenceIsRecordedAndNothingIsLost) {
  EXPECT_THROW(run("a", {"train.learning_rate=1e30", "train.checkpoint_every=1"}), NonFiniteError);
  EXPECT_EQ(RunFileReader(folder_ / "a/run.h5").status(), RunStatus::diverged);
  EXPECT_THAT(bytes("a/status.json"), testing::HasSubstr("\"diverged\""));
  EXPECT_THAT(bytes("a/log.txt"), testing::HasSubstr("error: training diverged"));
}

TEST_F(Run, ResumeRefusesDataThatHasChanged) {
  run("a", {"train.steps=6"});
  const auto refusal = [this] { return message_of<DataError>([this] { run("a", {}, true); }); };
  std::string text = small_text();
  text[1000] = text[1000] == '1' ? '2' : '1';
  folder_.make("text.txt", text);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("the data of the run in"), HasSubstr("data.files: '"),
                               HasSubstr("is as large, with other names or contents"), HasSubstr("data.json")));
  folder_.make("text.txt", small_text() + "1+1=2?");
  EXPECT_THAT(refusal(), HasSubstr(fmt::format("is now 1 file of {} bytes", small_text().size() + 6)));
  folder_.make("text.txt", small_text());
  EXPECT_EQ(run("a", {"train.steps=8"}, true).step, 8);
  // Without the record, what is there counts from now on.
  folder_.make("text.txt", text);
  std::filesystem::remove(folder_ / "a/data.json");
  EXPECT_EQ(run("a", {"train.steps=9"}, true).step, 9);
  EXPECT_EQ(run("a", {}, true).step, 12);
}

// Above 64 MiB some blocks stand for all; a folder stands for what is in it.
TEST(DataFilesTest, LargeFilesAndFolders) {
  const TemporaryFolder folder;
  const auto large = folder.make("large.txt", "begin");
  std::filesystem::resize_file(large, (std::uintmax_t{64} << 20) + 5000);
  folder.make("pictures/cat/1.png", "one"), folder.make("pictures/dog/2.png", "two");
  const auto files = [&] {
    return data_files(parse_yaml(fmt::format("data: {{kind: text, files: [{}]}}", large.string()), ""));
  };
  const auto pictures = [&] {
    return data_files(
        parse_yaml(fmt::format("data: {{kind: image_folder, folder: {}}}", (folder / "pictures").string()), ""));
  };
  const std::vector<DataFiles> before = files(), shown = pictures();
  ASSERT_THAT(before, SizeIs(1));
  EXPECT_EQ(before[0].bytes, (64 << 20) + 5000);
  EXPECT_EQ(files(), before);
  std::fstream(large, std::ios::in | std::ios::out | std::ios::binary) << "BEGIN";
  EXPECT_THAT(changed_data(before, files()), SizeIs(1));
  ASSERT_THAT(shown, SizeIs(1));
  EXPECT_EQ(shown[0].key, "data.folder");
  EXPECT_EQ(shown[0].files, 2);
  std::filesystem::rename(folder / "pictures/dog/2.png", folder / "pictures/cat/2.png");
  EXPECT_THAT(changed_data(shown, pictures()), SizeIs(1));
  const auto record = folder / "data.json";
  write_data_files(record, shown);
  EXPECT_EQ(read_data_files(record), shown);
  folder.make("data.json", "[{\"key\": 1}]");
  EXPECT_THAT(message_of<DataError>([&] { read_data_files(record); }), HasSubstr("is damaged"));
}

TEST(Statistics, OfFiniteValues) {
  const std::vector<float> values = {1, 2, 3, 4, NAN, INFINITY};
  const Statistics s = statistics_of(values);
  EXPECT_DOUBLE_EQ(s.mean, 2.5);
  EXPECT_DOUBLE_EQ(s.deviation, std::sqrt(1.25));
  EXPECT_EQ(s.minimum, 1);
  EXPECT_EQ(s.maximum, 4);
  EXPECT_DOUBLE_EQ(s.norm, std::sqrt(30.0));
  EXPECT_EQ(s.not_finite, 2);
  EXPECT_EQ(statistics_of({}).norm, 0);
}

TEST(Statistics, Histogram) {
  const std::vector<float> values = {0, 0.1F, 0.5F, 1, NAN};
  const Histogram h = histogram_of(values, 2);
  EXPECT_THAT(h.edges, ElementsAre(0, 0.5, 1));
  EXPECT_THAT(h.counts, ElementsAre(2, 2));
  EXPECT_THAT(histogram_of(std::vector<float>{3, 3}, 2).edges, ElementsAre(2.5, 3, 3.5));
  EXPECT_THAT(histogram_of({}, 1).counts, ElementsAre(0));
}

}  // namespace
}  // namespace rwkvlab
