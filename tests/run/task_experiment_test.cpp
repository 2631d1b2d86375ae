// Generated tasks in experiment files: every shipped one builds, and what a run of one records.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "data/image_data_set.h"
#include "record/run_file_reader.h"
#include "run/run_experiment.h"
#include "tests/run/make_experiment.h"

namespace rwkvlab {
namespace {
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const char* const small_task =
    "model: {layers: 1, width: 8}\n"
    "data: {kind: copying, symbols: 3, train: [{count: 2}], eval: [{count: 2, examples: 6}, {count: 5, examples: 6}]}\n"
    "train: {steps: 4, batch: 4, context: 4, objective: {kind: language_modelling, l2wrap: 0}}\n"
    "eval: {every: 2, by_position: true}\n";

// The model that goes with the data of a file: those of images have kinds of their own.
std::string small_model_for(const LoadedExperiment& loaded) {
  const auto data =
      build_kind<DataSet, DataSite>(data_slot, loaded.experiment.data, DataSite{loaded.file.parent_path(), 1});
  const auto* const images = dynamic_cast<const ImageDataSet*>(data.get());
  if (images == nullptr) return "model: {layers: 1, width: 8}\n";
  return std::string("model: {kind: ") + (images->is_dense() ? "image_segmenter" : "image_classifier") +
         ", layers: 1, width: 8, patch_size: 8}\n";
}

TEST(TaskExperiment, EveryShippedTaskBuilds) {
  const TemporaryFolder folder;
  std::set<std::string> kinds;
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(RWKVLAB_SOURCE_DIR "/configs/data")) {
    SCOPED_TRACE(entry.path());
    const std::string start = "extends: [" + entry.path().string() + "]\n";
    const std::string model = small_model_for(load_experiment(folder.make("experiment.yaml", start)));
    const LoadedExperiment loaded = load_experiment(folder.make("experiment.yaml", start + model));
    const BuiltExperiment built = build_experiment(loaded);
    const TrainParams& train = loaded.experiment.train;
    const auto* const data = dynamic_cast<const TokenDataSet*>(built.data.get());
    if (data == nullptr) continue;
    EXPECT_TRUE(data->training_batch(0, 2, train.context).is_task);
    EXPECT_GT(data->held_out_batches(train.batch, train.context), 0);
    kinds.insert(loaded.experiment.data.kind);
    ++files;
  }
  EXPECT_GE(files, 12);
  EXPECT_THAT(kinds, ElementsAre("associative_recall", "copying", "induction_heads", "listops", "needle",
                                 "selective_copying", "state_tracking"));
}

TEST(TaskExperiment, AccuracyIsRecordedForEverySet) {
  const TemporaryFolder folder;
  RunOptions options;
  options.folder = folder / "run";
  options.output = -1;
  const RunResult result = run_experiment(load_experiment(folder.make("task.yaml", small_task)), options);
  ASSERT_TRUE(result.evaluation && result.evaluation->accuracy);
  const RunFileReader reader(result.run_file);
  EXPECT_THAT(reader.steps("metrics/eval/accuracy"), ElementsAre(2, 4));
  EXPECT_EQ(reader.scalars("metrics/eval/accuracy").values.back(), *result.evaluation->accuracy);
  EXPECT_FALSE(reader.has("metrics/eval/bits_per_byte"));
  ASSERT_EQ(result.evaluation->sets.size(), 2u);
  for (const EvaluatedSet& set : result.evaluation->sets) {
    EXPECT_EQ(reader.scalars("metrics/eval/" + set.name + "/accuracy").values.back(), set.accuracy);
    EXPECT_EQ(reader.scalars("metrics/eval/" + set.name + "/loss").values.back(), set.loss);
  }
  EXPECT_EQ(result.evaluation->sets[1].name, "count_5");
  EXPECT_EQ(reader.info("probes/eval/accuracy_by_position").shape, (std::vector<std::int64_t>{10}));
  EXPECT_THAT(read_text(folder / "run/log.txt"), HasSubstr(", accuracy 0."));
}

TEST(TaskExperiment, MistakesAreNamedBeforeAnyWork) {
  const TemporaryFolder folder;
  const auto file = folder.make("task.yaml", small_task);
  const auto refusal = [&](const std::string& setting) {
    return message_of<ConfigError>([&] { build_experiment(load_experiment(file, {setting})); });
  };
  EXPECT_THAT(refusal("train.context=3"), AllOf(HasSubstr("task.yaml:2:"), HasSubstr("set train.context: 4")));
  EXPECT_THAT(refusal("eval.carry_state=true"), AllOf(HasSubstr("eval.carry_state"), HasSubstr("example of its own")));
  EXPECT_THAT(refusal("data.train=[{count: 2, delay: -1}]"), HasSubstr("delay"));
  EXPECT_THAT(refusal("data.eval=[{count: 2}, {count: 2}]"), HasSubstr("eval.1: another set"));
}

}  // namespace
}  // namespace rwkvlab
