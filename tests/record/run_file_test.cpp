#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <limits>
#include <thread>

#include "base/error.h"
#include "record/run_file_reader.h"
#include "tests/record/test_files.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {

using testing::bytes_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::record_step;

const Environment kEnvironment{
    {"commit", "abc123"}, {"cpu", "Ümlaut 9000"}, {"threads", 2}, {"seed", std::int64_t{1} << 40}};

TEST(RunFile, RoundTrip) {
  const TemporaryFolder folder;
  const auto path = folder / "run.h5";
  auto writer = RunFileWriter::create(path, "seed: 1\nname: Größe\n", kEnvironment);
  // More than one chunk of 1024 records, in flushes of different sizes.
  for (int step = 0; step < 2500; ++step) {
    record_step(writer, step);
    if (step % 700 == 3) writer.flush();
  }
  EXPECT_GT(writer.buffered_bytes(), 0u);
  writer.note_step(2600);
  writer.close(RunStatus::done);
  EXPECT_EQ(writer.buffered_bytes(), 0u);
  EXPECT_FALSE(std::filesystem::exists(folder / "run.h5.tmp"));

  const RunFileReader reader(path);
  EXPECT_EQ(reader.config(), "seed: 1\nname: Größe\n");
  EXPECT_EQ(reader.environment(), kEnvironment);
  EXPECT_EQ(reader.status(), RunStatus::done);
  EXPECT_EQ(reader.last_step(), 2600);
  EXPECT_EQ(reader.list().size(), 9u);
  EXPECT_EQ(reader.list("decay/").size(), 2u);

  const ScalarSeries loss = reader.scalars("metrics/train/loss");
  EXPECT_EQ(loss.info.unit, "nats per token");
  EXPECT_EQ(loss.info.description, "Mean cross entropy of the step.");
  ASSERT_EQ(loss.steps.size(), 2500u);
  for (int step = 0; step < 2500; ++step) {
    ASSERT_EQ(loss.steps[step], step);
    ASSERT_EQ(loss.values[step], testing::loss_at(step));
  }
  EXPECT_EQ(reader.info("decay/blocks.1.att.time_decay").records, 250);
  for (int record = 0; record < 250; ++record) {
    const TensorRecord decay = reader.tensor("decay/blocks.1.att.time_decay", record);
    ASSERT_EQ(decay.step, 10 * record);
    ASSERT_EQ(decay.values, testing::decay_at(10 * record, 1));
  }
  const SeriesInfo probe = reader.info("probes/blocks.0/att");
  EXPECT_THAT(probe.shape, ElementsAre(1, 2, 3));
  EXPECT_THAT(probe.dimensions, ElementsAre("batch", "time", "channel"));
  EXPECT_THAT(reader.tensor("probes/blocks.0/att").values, ElementsAre(2490, 2, 3, 4, 5, 6));
  const HistogramRecord histogram = reader.histogram("histograms/blocks.0.ffn", 2);
  EXPECT_EQ(histogram.step, 20);
  EXPECT_THAT(histogram.edges, ElementsAre(-1, 0, 1));
  EXPECT_THAT(histogram.counts, ElementsAre(20, 7));
}

TEST(RunFile, SpecialNumbersAndNestedNames) {
  const TemporaryFolder folder;
  auto writer = RunFileWriter::create(folder / "run.h5", "", {});
  writer.declare_metric("loss", "1", "");
  writer.declare_metric("loss/smooth", "1", "");
  writer.declare_metric("never recorded", "1", "");
  writer.metric("loss", -5, std::numeric_limits<double>::infinity());
  writer.metric("loss", 7, std::numeric_limits<double>::quiet_NaN());
  writer.metric("loss/smooth", 7, -0.0);
  writer.tensor(TensorGroup::states, "wkv", 7, std::vector<float>{-1e38f}, {{}, {}, "1", ""});
  writer.close(RunStatus::diverged);
  const RunFileReader reader(folder / "run.h5");
  EXPECT_EQ(reader.config(), "");
  EXPECT_TRUE(reader.environment().empty());
  EXPECT_EQ(reader.status(), RunStatus::diverged);
  const ScalarSeries loss = reader.scalars("metrics/loss");
  EXPECT_THAT(loss.steps, ElementsAre(-5, 7));
  EXPECT_TRUE(std::isinf(loss.values[0]));
  EXPECT_TRUE(std::isnan(loss.values[1]));
  EXPECT_TRUE(std::signbit(reader.scalars("metrics/loss/smooth").values[0]));
  EXPECT_FALSE(reader.has("metrics/never recorded"));
  EXPECT_THAT(reader.tensor("states/wkv").values, ElementsAre(-1e38f));
}

TEST(RunFile, RecordsLargerThanAChunk) {
  const TemporaryFolder folder;
  std::vector<float> large(3 * 700 * 401);  // 3.4 MB in chunks of at most 1 MiB.
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<float>(i % 8191);
  auto writer = RunFileWriter::create(folder / "run.h5", "", {});
  for (int step = 0; step < 3; ++step) {
    large[5] = static_cast<float>(-step);
    writer.tensor(TensorGroup::probes, "big", step, large, {{3, 700, 401}, {"a", "b", "c"}, "1", ""});
    writer.flush();
  }
  writer.close(RunStatus::done);
  const RunFileReader reader(folder / "run.h5");
  for (int step = 0; step < 3; ++step) {
    large[5] = static_cast<float>(-step);
    EXPECT_EQ(reader.tensor("probes/big", step).values, large);
  }
}

TEST(RunFile, EqualRunsHaveEqualBytesHoweverTheyWereFlushed) {
  const TemporaryFolder folder;
  const auto run = [&](const std::string& name, int flush_every, int resume_at, int until) {
    const auto path = folder / name;
    auto writer = std::make_unique<RunFileWriter>(RunFileWriter::create(path, "a: 1", kEnvironment));
    if (resume_at > 0) {
      for (int step = 0; step < resume_at + 300; ++step) record_step(*writer, step);
      writer->close(RunStatus::interrupted);
      writer = std::make_unique<RunFileWriter>(RunFileWriter::resume(path, resume_at));
    }
    for (int step = resume_at > 0 ? resume_at + 1 : 0; step < until; ++step) {
      record_step(*writer, step);
      if (step % flush_every == 0) writer->flush();
    }
    writer->close(RunStatus::done);
    return bytes_of(path);
  };
  const std::string expected = run("a.h5", 100000, 0, 1600);
  EXPECT_GT(expected.size(), 10000u);
  // HDF5 stamps objects with whole seconds; the second must be another one for the comparison to mean something.
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  EXPECT_TRUE(run("b.h5", 100000, 0, 1600) == expected) << "the same twice";
  EXPECT_TRUE(run("c.h5", 37, 0, 1600) == expected) << "flushed often";
  EXPECT_TRUE(run("d.h5", 37, 1100, 1600) == expected) << "resumed at step 1100";
  EXPECT_TRUE(run("e.h5", 400, 5, 1600) == expected) << "resumed at step 5";
  EXPECT_FALSE(run("f.h5", 100000, 0, 1599) == expected);
}

TEST(RunFile, ResumeDropsLaterRecords) {
  const TemporaryFolder folder;
  const auto path = folder / "run.h5";
  {
    auto writer = RunFileWriter::create(path, "a: 1", kEnvironment);
    for (int step = 0; step < 50; ++step) record_step(writer, step);
    writer.declare_metric("late", "1", "");
    writer.metric("late", 49, 1);
    writer.close(RunStatus::interrupted);
  }
  auto writer = RunFileWriter::resume(path, 29);
  {
    const RunFileReader reader(path);
    EXPECT_EQ(reader.status(), RunStatus::running);
    EXPECT_EQ(reader.last_step(), 29);
    EXPECT_EQ(reader.config(), "a: 1");
    EXPECT_EQ(reader.scalars("metrics/train/loss").steps.back(), 29);
    EXPECT_EQ(reader.tensor("decay/blocks.0.att.time_decay").step, 20);
    EXPECT_EQ(reader.histogram("histograms/blocks.0.ffn").step, 20);
    EXPECT_FALSE(reader.has("metrics/late"));
  }
  EXPECT_EQ(writer.last_step(), 29);
  EXPECT_THROW(writer.statistic("blocks.0.att.key.weight", "norm", 29, 0), BugError);
  record_step(writer, 30);
  writer.set_environment("threads", 4);
  writer.flush();
  const RunFileReader reader(path);
  EXPECT_EQ(reader.scalars("metrics/train/loss").values.back(), testing::loss_at(30));
  EXPECT_EQ(reader.environment().at("threads"), (std::variant<std::int64_t, std::string>(4)));
}

TEST(RunFile, DestructorKeepsWhatWasRecorded) {
  const TemporaryFolder folder;
  {
    auto writer = RunFileWriter::create(folder / "run.h5", "", {});
    record_step(writer, 0);
    auto moved = std::move(writer);
    record_step(moved, 1);
  }
  const RunFileReader reader(folder / "run.h5");
  EXPECT_EQ(reader.status(), RunStatus::running);
  EXPECT_THAT(reader.steps("metrics/train/loss"), ElementsAre(0, 1));
}

TEST(RunFile, FrequentFlushesDoNotBloatTheFile) {
  const TemporaryFolder folder;
  auto writer = RunFileWriter::create(folder / "run.h5", "", {});
  std::vector<float> values(20000);
  for (int step = 0; step < 300; ++step) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>((i * 2654435761u + step) % 65536);
    writer.tensor(TensorGroup::probes, "x", step, std::span(values).first(2000), {{2000}, {"channel"}, "1", ""});
    writer.flush();
    // Twice the raw size of the data and the constant of the rewriting rule.
    ASSERT_LT(std::filesystem::file_size(folder / "run.h5"), 2u * 300 * 8000 + (9u << 20));
  }
  writer.close(RunStatus::done);
  EXPECT_LT(std::filesystem::file_size(folder / "run.h5"), 300u * 8000 + 100000);
}

TEST(RunFile, FlushesWhenDueOrFull) {
  const TemporaryFolder folder;
  RunFileOptions options;
  options.flush_seconds = 100;
  options.buffer_bytes = 10000;
  auto writer = RunFileWriter::create(folder / "run.h5", "", {}, options);
  const auto now = std::chrono::steady_clock::now();
  EXPECT_FALSE(writer.maybe_flush(now + std::chrono::hours(1))) << "nothing to flush";
  record_step(writer, 1);
  EXPECT_FALSE(writer.maybe_flush(now));
  EXPECT_TRUE(writer.maybe_flush(now + std::chrono::seconds(101)));
  record_step(writer, 2);
  EXPECT_FALSE(writer.maybe_flush(now + std::chrono::seconds(102)));
  writer.tensor(TensorGroup::probes, "x", 2, std::vector<float>(4000), {{4000}, {"channel"}, "1", ""});
  EXPECT_TRUE(writer.maybe_flush(now + std::chrono::seconds(102))) << "the buffer is full";
  EXPECT_EQ(RunFileReader(folder / "run.h5").tensor("probes/x").values.size(), 4000u);
}

TEST(RunFile, MisuseIsABug) {
  const TemporaryFolder folder;
  auto writer = RunFileWriter::create(folder / "run.h5", "", {});
  EXPECT_THAT(message_of<BugError>([&] { writer.metric("los", 0, 1); }), HasSubstr("'metrics/los'"));
  writer.declare_metric("loss", "nats", "");
  EXPECT_THROW(writer.declare_metric("loss", "bits", ""), BugError);
  EXPECT_THROW(writer.declare_metric("x", "", ""), BugError);
  for (const char* name : {"", "/x", "x/", "a//b", "a/../b", ".", "a/step", "value", "edges/a"}) {
    EXPECT_THROW(writer.declare_metric(name, "1", ""), BugError) << name;
  }
  writer.metric("loss", 5, 1);
  EXPECT_THROW(writer.metric("loss", 5, 1), BugError);
  const std::vector<float> six(6);
  EXPECT_THROW(writer.tensor(TensorGroup::probes, "p", 1, six, {{7}, {"channel"}, "1", ""}), BugError);
  EXPECT_THROW(writer.tensor(TensorGroup::probes, "q", 1, six, {{6}, {}, "1", ""}), BugError);
  EXPECT_THROW(writer.tensor(TensorGroup::probes, "r", 1, {}, {{0}, {"channel"}, "1", ""}), BugError);
  EXPECT_THROW(writer.histogram("h", 1, std::vector<double>{0, 1}, std::vector<std::int64_t>{1, 2}), BugError);
  EXPECT_THROW(writer.histogram("h", 1, std::vector<double>{0, 2, 1}, std::vector<std::int64_t>{1, 2}), BugError);
  writer.close(RunStatus::done);
  EXPECT_THROW(writer.metric("loss", 6, 1), BugError);
  EXPECT_THROW(writer.close(RunStatus::done), BugError);
}

TEST(RunFileReader, ErrorsNameTheNearestSeries) {
  const TemporaryFolder folder;
  auto writer = RunFileWriter::create(folder / "run.h5", "", {});
  EXPECT_THAT(message_of<DataError>([&] { RunFileReader(folder / "run.h5").scalars("metrics/x"); }),
              HasSubstr("no series yet"));
  record_step(writer, 0);
  writer.flush();
  const RunFileReader reader(folder / "run.h5");
  EXPECT_THAT(message_of<DataError>([&] { reader.scalars("metrics/train/los"); }),
              HasSubstr("Did you mean 'metrics/train/loss'?"));
  EXPECT_THAT(message_of<DataError>([&] { reader.scalars("zzz"); }),
              HasSubstr("It holds decay/blocks.0.att.time_decay,"));
  EXPECT_THAT(message_of<DataError>([&] { reader.tensor("metrics/train/loss"); }),
              HasSubstr("a series of numbers, not of tensors"));
  EXPECT_THAT(message_of<DataError>([&] { reader.tensor("probes/blocks.0/att", 1); }), HasSubstr("no record 1"));
  EXPECT_THROW(reader.tensor("probes/blocks.0/att", -2), DataError);
}

TEST(RunFileReader, RefusesOtherFiles) {
  const TemporaryFolder folder;
  EXPECT_THROW(RunFileReader(folder / "missing.h5"), DataError);
  EXPECT_THAT(message_of<DataError>([&] { RunFileReader{folder.path()}; }), HasSubstr("folder"));
  std::ofstream(folder / "text.h5") << "not a run file";
  EXPECT_THAT(message_of<DataError>([&] { RunFileReader(folder / "text.h5"); }), HasSubstr("not an HDF5 file"));
  EXPECT_THROW(RunFileWriter::resume(folder / "text.h5", 0), DataError);
  std::ofstream(folder / "empty.h5").flush();
  EXPECT_THROW(RunFileReader(folder / "empty.h5"), DataError);

  hdf5::create_empty_file(folder / "other.h5");
  EXPECT_THAT(message_of<DataError>([&] { RunFileReader(folder / "other.h5"); }), HasSubstr("not a run file"));
  {
    const hdf5::Handle file = hdf5::open_file(folder / "other.h5", true);
    hdf5::write_attribute(file.id(), "rwkvlab_run_file", std::int64_t{2});
  }
  EXPECT_THAT(message_of<DataError>([&] { RunFileReader(folder / "other.h5"); }), HasSubstr("version 2"));
}

// Every truncation and a sample of flipped bytes is either refused with an Error or still reads; nothing crashes.
TEST(RunFileReader, SurvivesDamagedFiles) {
  const TemporaryFolder folder;
  {
    auto writer = RunFileWriter::create(folder / "run.h5", "a: 1", kEnvironment);
    for (int step = 0; step < 30; ++step) record_step(writer, step);
    writer.close(RunStatus::done);
  }
  const std::string good = bytes_of(folder / "run.h5");
  int refused = 0, tried = 0;
  const auto attempt = [&](const std::string& bytes) {
    std::ofstream(folder / "bad.h5", std::ios::binary) << bytes;
    ++tried;
    try {
      const RunFileReader reader(folder / "bad.h5");
      reader.config();
      reader.environment();
      for (const SeriesInfo& info : reader.list()) {
        if (info.kind == SeriesKind::scalar) reader.scalars(info.path);
        if (info.kind == SeriesKind::tensor) reader.tensor(info.path);
        if (info.kind == SeriesKind::histogram) reader.histogram(info.path);
      }
    } catch (const Error&) {
      ++refused;
    }
  };
  // In a process of its own: HDF5 1.10 forgets some of its memory when it meets damaged objects, and a crash would be
  // its exit status.
  const pid_t process = ::fork();
  if (process == 0) {
    for (std::size_t length = 0; length < good.size(); length += good.size() / 40) attempt(good.substr(0, length));
    if (refused != tried) ::_exit(1);
    for (std::size_t at = 8; at < good.size(); at += good.size() / 60 + 1) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 0x55);
      attempt(bad);
    }
    ::_exit(tried > 100 ? 0 : 2);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(process, &status, 0), process);
  EXPECT_EQ(status, 0) << "1: a truncated file was read; 2: too few attempts; anything else: a crash";
}

ProfileRecord small_profile() {
  ProfileTable operations{{"linear", "(adamw)"}, {{"bytes", "bytes", {1e12, 0}}, {"seconds", "seconds", {0.25, 0.5}}}};
  return {3, 2, {{"modules", {}}, {"operations", operations}}};
}

TEST(RunFile, KeepsAProfileOfStepsThatItHas) {
  const TemporaryFolder folder;
  const auto path = folder / "run.h5";
  auto writer = RunFileWriter::create(path, "", kEnvironment);
  record_step(writer, 1);
  writer.flush();
  EXPECT_FALSE(RunFileReader(path).profile().has_value());
  writer.set_profile(small_profile());
  writer.flush();
  const auto check = [&] {
    const std::optional<ProfileRecord> profile = RunFileReader(path).profile();
    ASSERT_TRUE(profile.has_value());
    EXPECT_EQ(profile->first_step, 3);
    EXPECT_EQ(profile->steps, 2);
    ASSERT_EQ(profile->tables.size(), 2u);
    EXPECT_TRUE(profile->tables.at("modules").names.empty());
    const ProfileTable& table = profile->tables.at("operations");
    EXPECT_THAT(table.names, ElementsAre("linear", "(adamw)"));
    ASSERT_EQ(table.columns.size(), 2u);
    EXPECT_EQ(table.columns[1].name, "seconds");
    EXPECT_EQ(table.columns[1].unit, "seconds");
    EXPECT_THAT(table.columns[0].values, ElementsAre(1e12, 0));
    EXPECT_THAT(table.columns[1].values, ElementsAre(0.25, 0.5));
  };
  check();
  record_step(writer, 5);
  writer.close(RunStatus::done);
  check();
  EXPECT_EQ(RunFileReader(path).list().size(), 3u) << "a profile is no series";
  RunFileWriter::resume(path, 4).close(RunStatus::interrupted);
  check();
  RunFileWriter::resume(path, 3).close(RunStatus::interrupted);
  EXPECT_FALSE(RunFileReader(path).profile().has_value()) << "step 4 is no longer there";
}

}  // namespace
}  // namespace rwkvlab
