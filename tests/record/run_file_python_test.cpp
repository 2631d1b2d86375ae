// The run file as h5py sees it, from another process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "record/run_file_reader.h"
#include "tests/record/python.h"
#include "tests/record/test_files.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {

using testing::run_python;

class RunFilePython : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = testing::missing_h5py(folder_.path());
    if (!missing.empty()) GTEST_SKIP() << missing;
  }
  TemporaryFolder folder_;
};

constexpr const char* kLayout = R"py(
import h5py, numpy as np
def check(f, status, steps):
    assert f.attrs["rwkvlab_run_file"] == 1 and f.attrs["status"] == status, dict(f.attrs)
    assert f.attrs["last_step"] == steps - 1
    assert f["config"][()].decode() == "name: Größe\n" == f["config"].asstr()[()]
    assert dict(f["environment"].attrs) == {"cpu": "Ü", "threads": 2}
    loss = f["metrics/train/loss"]
    assert loss.attrs["kind"] == "scalar"
    assert loss["step"].dtype == np.int64 and loss["value"].dtype == np.float64
    assert (loss["step"][:] == np.arange(steps)).all()
    assert np.allclose(loss["value"][:], 5.5 / np.sqrt(1 + 0.01 * np.arange(steps)), rtol=1e-15)
    assert loss["value"].attrs["unit"] == "nats per token"
    assert loss["value"].attrs["description"].startswith("Mean cross entropy")
    records = (steps + 9) // 10
    probe = f["probes/blocks.1/att"]
    assert probe["value"].shape == (records, 1, 2, 3) and probe["value"].dtype == np.float32
    assert [d.label for d in probe["value"].dims] == ["step", "batch", "time", "channel"]
    assert probe["value"].dims[0]["step"] == probe["step"] and list(probe["value"].dims[0].keys()) == ["step"]
    assert probe["value"].compression == "gzip" and probe["value"].shuffle and probe["value"].chunks[1:] == (1, 2, 3)
    decay = f["decay/blocks.0.att.time_decay/value"]
    assert decay.shape == (records, 8) and decay.attrs["transform"] == "decay = exp(-exp(value))"
    histogram = f["histograms/blocks.0.ffn"]
    assert histogram["edges"].shape == (records, 3) and histogram["counts"].shape == (records, 2)
    assert histogram["counts"].dtype == np.int64 and list(histogram["counts"][1]) == [10, 7]
    assert [d.label for d in histogram["counts"].dims] == ["step", "bin"]
    assert f["statistics/blocks.0.att.key.weight/norm/value"].shape == (steps,)
)py";

TEST_F(RunFilePython, LayoutWhileRunningAndWhenDone) {
  auto writer = RunFileWriter::create(folder_ / "run.h5", "name: Größe\n", {{"cpu", "Ü"}, {"threads", 2}});
  for (int step = 0; step < 25; ++step) testing::record_step(writer, step);
  writer.flush();
  for (const char* open : {"h5py.File('run.h5')", "h5py.File('run.h5', 'r', swmr=True)"}) {
    const auto result =
        run_python(folder_.path(), std::string(kLayout) + "with " + open + " as f: check(f, 'running', 25)\n");
    EXPECT_EQ(result.status, 0) << open << "\n" << result.output;
  }
  for (int step = 25; step < 2000; ++step) testing::record_step(writer, step);
  writer.close(RunStatus::done);
  const auto result =
      run_python(folder_.path(), std::string(kLayout) + "with h5py.File('run.h5') as f: check(f, 'done', 2000)\n");
  EXPECT_EQ(result.status, 0) << result.output;
}

// Opens the file again and again while this process writes it.
TEST_F(RunFilePython, OpensTheFileAtAnyTime) {
  auto writer = RunFileWriter::create(folder_ / "run.h5", "", {});
  testing::record_step(writer, 0);
  writer.flush();
  testing::PythonResult result;
  std::ofstream(folder_ / "read.py") << R"py(
import h5py, os
seen, count = 0, 0
stopped = False
while not stopped or count < 20:
    stopped = os.path.exists("stop")
    with h5py.File("run.h5") as f:
        steps = f["metrics/train/loss/step"][:]
        assert len(steps) >= seen and (steps == range(len(steps))).all()
        assert len(f["metrics/train/loss/value"]) == len(steps) == f.attrs["last_step"] + 1
        seen, count = len(steps), count + 1
print("last", seen)
)py";
  const std::string start = "cd '" + folder_.path().string() +
                            "' && '" RWKVLAB_PYTHON "' read.py > read.txt 2>&1 < /dev/null & echo $! > '" +
                            (folder_ / "pid").string() + "'";
  ASSERT_EQ(std::system(start.c_str()), 0);
  for (int step = 1; step < 200; ++step) {
    testing::record_step(writer, step);
    writer.flush();
  }
  folder_.make("stop", "");
  // The reader ends by itself once it has seen `stop`; until then its output is empty.
  std::string output;
  while ((output = testing::bytes_of(folder_ / "read.txt")).empty()) {
    if (std::system(("kill -0 $(cat '" + (folder_ / "pid").string() + "') 2> /dev/null").c_str()) != 0) break;
  }
  output = testing::bytes_of(folder_ / "read.txt");
  EXPECT_EQ(output, "last 200\n");
}

TEST_F(RunFilePython, ReadsAProfile) {
  auto writer = RunFileWriter::create(folder_ / "run.h5", "", {});
  ProfileTable table{{"linear", "größe"}, {{"forward", "seconds", {0.25, 0.5}}}};
  writer.set_profile({3, 10, {{"operations", table}}});
  writer.close(RunStatus::done);
  const auto result = run_python(folder_.path(), R"py(
import h5py
with h5py.File("run.h5") as f:
    profile = f["profile"]
    assert dict(profile.attrs) == {"version": 1, "first_step": 3, "steps": 10}, dict(profile.attrs)
    rows = profile["operations"]
    assert list(rows["name"].asstr()[:]) == ["linear", "größe"]
    assert list(rows["forward"][:]) == [0.25, 0.5] and rows["forward"].attrs["unit"] == "seconds"
)py");
  EXPECT_EQ(result.status, 0) << result.output;
}

// The example in docs/run_file.md, as it stands there.
TEST_F(RunFilePython, DocumentedExampleWorks) {
  const std::string page = testing::bytes_of(std::filesystem::path(RWKVLAB_SOURCE_DIR) / "docs/run_file.md");
  const std::string opening = "```python\n";
  const auto begin = page.find(opening);
  ASSERT_NE(begin, std::string::npos);
  const std::string code = page.substr(begin + opening.size(), page.find("```", begin + 3) - begin - opening.size());
  EXPECT_EQ(std::count(code.begin(), code.end(), '\n'), 6) << "the page promises six lines";
  auto writer = RunFileWriter::create(folder_ / "run.h5", "", {});
  for (int step = 0; step < 3; ++step) testing::record_step(writer, step);
  writer.close(RunStatus::done);
  const auto result = run_python(folder_.path(), code);
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.output, ::testing::StartsWith("done 2 nats per token\n0 5.5\n1 5.47"));
}

}  // namespace
}  // namespace rwkvlab
