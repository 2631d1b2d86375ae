#include "train/image_objectives.h"

#include <gmock/gmock.h>

#include <cmath>

#include "data/image_data_set.h"
#include "models/image_classifier.h"
#include "tests/support/tensors.h"
#include "tests/train/small_training.h"
#include "train/image_sums.h"

namespace rwkvlab {
namespace {

// Images of 4 x 4 pixels with one bright quarter, which is the label.
class BrightQuarters final : public ImageDataSet {
 public:
  std::string describe() const override { return "bright quarters"; }
  std::int64_t channels() const override { return 1; }
  std::int64_t height() const override { return 4; }
  std::int64_t width() const override { return 4; }
  std::int64_t classes() const override { return 4; }
  std::int64_t training_images_count() const override { return 0; }
  ImageBatch training_images(std::int64_t step, std::int64_t batch) const override { return make(step, batch); }
  std::int64_t held_out_batches(std::int64_t, std::int64_t limit) const override { return limit == 1 ? 1 : 3; }
  ImageBatch held_out_images(std::int64_t index, std::int64_t batch) const override { return make(-1 - index, batch); }

 private:
  static ImageBatch make(std::int64_t number, std::int64_t batch) {
    ImageBatch result;
    result.images = test::normal_tensor({batch, 1, 4, 4}, "images" + std::to_string(number), 0.3, DType::f32);
    result.labels = Tensor::empty({batch}, DType::i64);
    for (std::int64_t b = 0; b < batch; ++b) {
      const std::int64_t label = (7 * b + 3 * number) & 3;
      result.labels.data<std::int64_t>()[b] = label;
      for (std::int64_t i = 0; i < 4; ++i)
        result.images.data<float>()[b * 16 + (label / 2 * 2 + i / 2) * 4 + label % 2 * 2 + i % 2] += 1;
    }
    return result;
  }
};

TEST(ImageObjectives, AModelLearnsWhereItIsBright) {
  const BrightQuarters data;
  ImageClassifierParams params;
  params.layers = 1;
  params.width = 16;
  params.patch_size = 2;
  params.time_mix = make_choice("time_mix", "vision_rwkv");
  params.channel_mix = make_choice("channel_mix", "vision_rwkv");
  const auto model = make_root(std::make_unique<ImageClassifier>(params, ModelSite{0, 1, 4, 4, 4}));
  model->allocate(1);
  const auto objective = make_image_classification({}, {model.get(), &data, 16, 1});
  TrainParams train = test::small_train_params();
  train.steps = 80;
  train.batch = 16;
  train.context = 1;
  train.learning_rate = 1e-2;
  Trainer trainer(train, {}, {objective.get(), 1, {}, {"", ""}});
  TrainingObserver nobody;
  const std::atomic<bool> stop{false};
  trainer.run(nobody, stop);
  const Evaluation& evaluation = *trainer.last_evaluation();
  // Mean pooling forgets places but for the position embedding, which it has to learn.
  EXPECT_GT(*evaluation.accuracy, 0.9);
  EXPECT_EQ(evaluation.tokens, 48);
  EXPECT_TRUE(evaluation.metrics.empty()) << "four classes have no top five";
}

Tensor labels_of(const std::vector<std::int64_t>& labels) {
  return Tensor::from<std::int64_t>({static_cast<std::int64_t>(labels.size())}, labels);
}

RowLoss losses_of(const std::vector<double>& losses, std::int64_t counted) {
  return {Var(), Tensor::from<double>({static_cast<std::int64_t>(losses.size())}, losses), counted};
}

TEST(ImageSums, CountsTheFirstAndTheFirstFive) {
  const std::vector<double> scores = {9, 8, 7, 6, 5, 4, 3,   // label 0: first
                                      9, 8, 7, 6, 5, 4, 3,   // label 4: fifth
                                      9, 8, 7, 6, 5, 4, 3,   // label 5: sixth
                                      1, 1, 1, 1, 1, 1, 1,   // label 6: behind six equal ones
                                      0, 0, 0, 0, 0, 0, 0};  // no label
  ImageSums sums(7, {"nats", "image", "images"});
  sums.add(losses_of({1, 2, 3, 4, 0}, 4), Tensor::from<double>({5, 7}, scores), labels_of({0, 4, 5, 6, -1}), "");
  const Evaluation evaluation = sums.result(false);
  EXPECT_EQ(evaluation.loss, 2.5);
  EXPECT_EQ(evaluation.tokens, 4);
  EXPECT_EQ(evaluation.accuracy, 0.25);
  ASSERT_EQ(evaluation.metrics.size(), 1U);
  EXPECT_EQ(evaluation.metrics[0].name, "top5_accuracy");
  EXPECT_EQ(evaluation.metrics[0].value, 0.5);
}

TEST(ImageSums, OverlapsAreOfTheWholeSet) {
  ImageSums sums(3, {"nats", "pixel", "images"});
  const auto add = [&](std::vector<std::int64_t> predicted, const std::vector<std::int64_t>& labels, const char* set) {
    std::vector<double> scores;
    for (const std::int64_t p : predicted) {
      for (std::int64_t c = 0; c < 3; ++c) scores.push_back(c == p ? 1 : 0);
    }
    const auto rows = static_cast<std::int64_t>(predicted.size());
    sums.add(losses_of(std::vector<double>(predicted.size(), 1.0), rows), Tensor::from<double>({rows, 3}, scores),
             labels_of(labels), set);
  };
  add({0, 0, 1, 1}, {0, 1, 1, 1}, "a");
  add({0, 0}, {0, 0}, "b");
  const Evaluation evaluation = sums.result(true);
  // Class 0: 3 of 4; class 1: 2 of 3; class 2 does not occur.
  EXPECT_NEAR(evaluation.metrics[0].value, (3.0 / 4 + 2.0 / 3) / 2, 1e-15);
  EXPECT_NEAR(*evaluation.accuracy, 5.0 / 6, 1e-15);
  ASSERT_EQ(evaluation.sets.size(), 2U);
  EXPECT_EQ(evaluation.sets[0].accuracy, 0.75);
  EXPECT_EQ(evaluation.sets[1].tokens, 2);
}

}  // namespace
}  // namespace rwkvlab
