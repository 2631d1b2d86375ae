// Sweeps through the real executable: processes, interruptions, continuing, job arrays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/end_to_end/experiment.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Sweep : public Program {
 protected:
  Sweep() {
    folder_.make("grid.yaml",
                 "extends: small.yaml\n"
                 "train: {steps: 10}\n"
                 "log: {probes: []}\n"
                 "sweep: {grid: {model.width: [8, 16]}, seeds: 2}\n");
  }
  std::string status(const std::string& run) const {
    const auto json = nlohmann::json::parse(file(run + "/status.json"), nullptr, false);
    return json.is_object() ? json.value("status", "") : "none";
  }
  bool exists(const std::string& name) const { return fs::exists(folder_ / name); }

  /// An sbatch that keeps its script as `kept` and runs all tasks at once, one after another.
  void make_sbatch() {
    const fs::path path = folder_.make("bin/sbatch",
                                       "#!/bin/bash\n"
                                       "for script; do :; done\n"
                                       "cp \"$script\" '" +
                                           (folder_ / "kept").string() +
                                           "'\n"
                                           "last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' \"$script\")\n"
                                           "for task in $(seq 0 \"$last\"); do\n"
                                           "  SLURM_ARRAY_TASK_ID=$task bash \"$script\" >/dev/null 2>&1\n"
                                           "done\n"
                                           "echo '123;cluster'\n");
    chmod(path.c_str(), 0755);
    setenv("PATH", ((folder_ / "bin").string() + ":" + path_before_).c_str(), 1);
  }
  ~Sweep() override { setenv("PATH", path_before_.c_str(), 1); }

  const std::string path_before_ = std::getenv("PATH");
};

TEST_F(Sweep, RunsEverythingSideBySideAndOnlyOnce) {
  const Finished check = program({"check", "grid.yaml"});
  EXPECT_EQ(check.code, 0) << check.error;
  EXPECT_THAT(check.out, AllOf(HasSubstr("2 variants, 4 runs"), HasSubstr("width=8  (seed 1, 2)")));
  EXPECT_EQ(program({"describe", "grid.yaml"}).code, 0);

  const Finished first = program({"run", "grid.yaml", "--out", "swp", "--jobs", "2", "--threads", "2"});
  EXPECT_EQ(first.code, 0) << first.error << first.out;
  EXPECT_THAT(first.out,
              AllOf(HasSubstr("4 of 4 to do, 2 at a time with 1 thread each"), HasSubstr("started"), HasSubstr("[4/4]"),
                    HasSubstr("eval/accuracy"), HasSubstr("4 of 4 runs done"), HasSubstr("left\n")));
  for (const char* const run : {"width=8/seed-1", "width=8/seed-2", "width=16/seed-1", "width=16/seed-2"})
    EXPECT_EQ(status(std::string("swp/runs/") + run), "done") << run;
  EXPECT_THAT(file("swp/runs/width=8/seed-2/log.txt"), HasSubstr("step 10/10"));
  EXPECT_THAT(file("swp/runs/width=8/seed-2/resolved.yaml"), AllOf(HasSubstr("seed: 2"), HasSubstr("width: 8")));
  EXPECT_THAT(file("swp/experiments/width=16.yaml"), AllOf(HasSubstr("width: 16"), Not(HasSubstr("seed"))));
  EXPECT_TRUE(exists("swp/table.txt"));
  EXPECT_NE(file("swp/runs/width=8/seed-1/run.h5"), file("swp/runs/width=8/seed-2/run.h5"));

  // A single run of the same configuration is the same, bit by bit.
  EXPECT_EQ(program({"run", "swp/experiments/width=8.yaml", "--set", "seed=2", "--out", "alone", "--no-figures",
                     "--threads", "1", "--quiet"})
                .out,
            "");
  EXPECT_EQ(file("alone/run.h5"), file("swp/runs/width=8/seed-2/run.h5"));

  EXPECT_EQ(program({"check", "swp"}).out, check.out);
  EXPECT_EQ(program({"check", "swp/sweep.yaml"}).out, check.out);
  const Finished again = program({"run", "swp", "--resume"});
  EXPECT_EQ(again.code, 0) << again.error;
  EXPECT_THAT(again.out, AllOf(HasSubstr("0 of 4 to do"), HasSubstr("4 of 4 runs done")));
  // One more variant and one more seed: what is there stays.
  const Finished more = program(
      {"run", "grid.yaml", "--out", "swp", "--resume", "--set", "sweep.grid.model.width=[8, 16, 24]", "--only", "*8"});
  EXPECT_EQ(more.code, 2) << "a dot in a path separates keys, so this setting names another axis\n" << more.out;
  folder_.make("more.yaml",
               "extends: grid.yaml\n"
               "sweep: {grid: {model.width: [8, 16, 24]}, seeds: 3}\n");
  const Finished added = program({"run", "more.yaml", "--out", "swp", "--resume", "--only", "*8"});
  EXPECT_EQ(added.code, 0) << added.error << added.out;
  EXPECT_THAT(added.out, HasSubstr("1 of 3 to do"));
  EXPECT_EQ(status("swp/runs/width=8/seed-3"), "done");
  EXPECT_FALSE(exists("swp/runs/width=24/seed-1/run.h5")) << "planned, but not asked for";
  EXPECT_THAT(program({"run", "grid.yaml", "--out", "swp", "--resume", "--set", "train.steps=12"}).error,
              AllOf(HasSubstr("variant 'width=24' is gone"), HasSubstr("train.steps: 10 -> 12")));
}

TEST_F(Sweep, AFailureDoesNotStopTheOthers) {
  folder_.make("bad.yaml",
               "extends: grid.yaml\n"
               "sweep: {grid: {model.width: [8]}, seeds: 1, list: [{label: wild, set: {train.learning_rate: 1e30,"
               " train.schedule: {kind: constant}, train.gradient_clip: 0}}, {label: tame}, {label: odd}]}\n");
  const Finished first = program({"run", "bad.yaml", "--out", "swp", "--only", "*[!x]*"});
  EXPECT_EQ(first.code, 2) << "brackets are no pattern";
  EXPECT_THAT(first.error, HasSubstr("no variant matches"));
  EXPECT_EQ(program({"run", "bad.yaml", "--out", "swp", "--only", "*tame"}).code, 0);
  folder_.make("swp/runs/width=8-odd/seed-1/foreign", "");
  const Finished rest = program({"run", "swp", "--resume"});
  EXPECT_EQ(rest.code, 1);
  EXPECT_THAT(rest.out,
              AllOf(HasSubstr("diverged"), HasSubstr("holds other files"), HasSubstr("1 of 3 runs done, 2 failed")));
  EXPECT_EQ(status("swp/runs/width=8-wild/seed-1"), "diverged");
  EXPECT_EQ(status("swp/runs/width=8-odd/seed-1"), "failed");
  fs::remove(folder_ / "swp/runs/width=8-odd/seed-1/foreign");
  const Finished once_more = program({"run", "swp", "--resume", "--only", "*odd"});
  EXPECT_EQ(once_more.code, 0) << once_more.out << once_more.error;
  EXPECT_EQ(status("swp/runs/width=8-odd/seed-1"), "done");
}

TEST_F(Sweep, InterruptedAndKilledSweepsContinue) {
  folder_.make("long.yaml",
               "extends: small.yaml\n"
               "log: {probes: [], every: 1000}\n"
               "eval: {every: 100000}\n"
               "sweep: {list: [{label: short, set: {train.steps: 5}}, {label: long, set: {train.steps: 400, "
               "train.checkpoint_every: 20}}]}\n");
  const auto long_step = [&] {
    const auto json = nlohmann::json::parse(file("swp/runs/long/seed-1/status.json"), nullptr, false);
    return json.is_object() ? json.value("step", 0) : 0;
  };
  Running first(folder_.path(), {"run", "long.yaml", "--out", "swp", "--jobs", "2", "--threads", "1"});
  while (long_step() < 20 && fs::exists(folder_.path())) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  first.send(SIGINT);
  const Finished interrupted = first.finish();
  EXPECT_EQ(interrupted.code, 130) << interrupted.error;
  EXPECT_THAT(interrupted.out, AllOf(HasSubstr("interrupted long, seed 1"), HasSubstr("--resume")));
  EXPECT_EQ(status("swp/runs/long/seed-1"), "interrupted");
  EXPECT_EQ(status("swp/runs/short/seed-1"), "done");
  const std::string short_log = file("swp/runs/short/seed-1/log.txt");
  const int before = long_step();

  Running second(folder_.path(), {"run", "swp", "--resume", "--threads", "1"});
  while (long_step() <= before) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  second.send(SIGKILL);
  EXPECT_EQ(second.finish().code, -SIGKILL);
  // The run that was left behind ends by itself; the next process waits for it.
  const Finished third = program({"run", "swp", "--resume", "--threads", "1"});
  EXPECT_EQ(third.code, 0) << third.error << third.out;
  EXPECT_THAT(third.out, AllOf(HasSubstr("1 of 2 to do"), HasSubstr("2 of 2 runs done")));
  EXPECT_EQ(status("swp/runs/long/seed-1"), "done");
  EXPECT_EQ(file("swp/runs/short/seed-1/log.txt"), short_log) << "what is finished does not run again";
  EXPECT_THAT(file("swp/runs/long/seed-1/log.txt"), HasSubstr("resumed after step"));
}

TEST_F(Sweep, WrongUsesAreRefusedWithTheWayOut) {
  const auto refused = [&](const std::vector<std::string>& arguments) {
    const Finished finished = program(arguments);
    EXPECT_EQ(finished.code, 2) << finished.out << finished.error;
    return finished.error;
  };
  EXPECT_THAT(refused({"run", "small.yaml", "--jobs", "2"}), HasSubstr("--jobs is for sweeps"));
  EXPECT_THAT(refused({"run", "."}), HasSubstr("no sweep folder"));
  EXPECT_THAT(refused({"run", "grid.yaml", "--out", "none", "--resume"}), HasSubstr("there is no sweep in 'none'"));
  ASSERT_EQ(train("single", {"--set", "train.steps=2", "--quiet"}).code, 0);
  EXPECT_THAT(refused({"run", "grid.yaml", "--out", "single", "--resume"}), HasSubstr("the folder of a single run"));
  EXPECT_THAT(refused({"run", "grid.yaml", "--out", "single"}), HasSubstr("the folder of a single run"));
  ASSERT_EQ(program({"run", "grid.yaml", "--out", "swp", "--only", "*=8", "--set", "sweep.seeds=1"}).code, 0);
  EXPECT_THAT(refused({"run", "grid.yaml", "--out", "swp"}), HasSubstr("there is a sweep in 'swp' already"));
  EXPECT_THAT(refused({"run", "small.yaml", "--out", "swp"}), HasSubstr("holds other files"));
  EXPECT_THAT(refused({"run", "swp"}), HasSubstr("with --resume"));
  EXPECT_THAT(refused({"run", "swp", "--resume", "--set", "seed=1"}), HasSubstr("runs as it was planned"));
  EXPECT_THAT(refused({"run", "swp", "--resume", "--out", "x"}), HasSubstr("swp/sweep.yaml --out DIR"));
  EXPECT_THAT(refused({"run", "swp", "--resume", "--index", "7"}), HasSubstr("the indices are 0 to 1"));
  // The record alone repeats the sweep elsewhere.
  EXPECT_EQ(program({"run", "swp/sweep.yaml", "--out", "again", "--only", "*=8"}).code, 0);
  EXPECT_EQ(file("again/runs/width=8/seed-1/run.h5"), file("swp/runs/width=8/seed-1/run.h5"));
  std::string record = file("swp/sweep.yaml");
  record.replace(record.find("version: 1"), 10, "version: 9");
  folder_.make("swp/sweep.yaml", record);
  EXPECT_THAT(refused({"run", "swp", "--resume"}), AllOf(HasSubstr("version 9"), HasSubstr("knows version 1")));
}

TEST_F(Sweep, SlurmGetsAJobArray) {
  const std::string odd = "odd 'n\" %ame";
  EXPECT_EQ(program({"run", "grid.yaml", "--out", odd, "--launcher", "slurm", "--slurm-option=foo"}).code, 2);
  EXPECT_FALSE(exists(odd)) << "refused before anything is written";
  setenv("PATH", (folder_ / "empty").c_str(), 1);
  const Finished without = program({"run", "grid.yaml", "--out", odd, "--launcher", "slurm", "--jobs", "3", "--threads",
                                    "1", "--slurm-option=--time=1:00:00"});
  EXPECT_EQ(without.code, 1);
  EXPECT_THAT(without.error, AllOf(HasSubstr("no sbatch on PATH"), HasSubstr("slurm/job.sh")));
  const std::string script = file(odd + "/slurm/job.sh");
  EXPECT_THAT(script,
              AllOf(HasSubstr("#SBATCH --array=0-3%3\n"), HasSubstr("#SBATCH --cpus-per-task=1\n"),
                    HasSubstr("#SBATCH --time=1:00:00\n"), HasSubstr("runs=(0 1 2 3)"),
                    HasSubstr("odd 'n\\\" %%ame/slurm/%A_%a.out\"\n"), HasSubstr("odd '\\''n\" %ame' --resume")));
  make_sbatch();
  EXPECT_EQ(program({"run", odd, "--resume", "--only", "*=8", "--launcher", "slurm", "--slurm-option=no"}).code, 2);
  const Finished some = program({"run", odd, "--resume", "--only", "*=8", "--launcher", "slurm"});
  EXPECT_EQ(some.code, 0) << some.error;
  EXPECT_THAT(some.out, HasSubstr("submitted job 123: 2 tasks"));
  EXPECT_EQ(status(odd + "/runs/width=8/seed-2"), "done");
  EXPECT_EQ(status(odd + "/runs/width=16/seed-2"), "none");
  const Finished rest = program({"run", odd, "--resume", "--launcher", "slurm"});
  EXPECT_EQ(rest.code, 0) << rest.error;
  EXPECT_THAT(file("kept"), AllOf(HasSubstr("--array=0-1\n"), HasSubstr("runs=(2 3)")));
  EXPECT_EQ(status(odd + "/runs/width=16/seed-2"), "done");
  EXPECT_THAT(program({"run", odd, "--resume", "--launcher", "slurm"}).out, HasSubstr("nothing is missing"));
  folder_.make("bin/sbatch", "#!/bin/bash\necho 'no such partition' >&2\nexit 1\n");
  chmod((folder_ / "bin/sbatch").c_str(), 0755);
  const Finished refused = program({"run", "grid.yaml", "--out", "new", "--launcher", "slurm"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.error, HasSubstr("no such partition"));
}

}  // namespace
}  // namespace rwkvlab
