// Augmentations, and the loader in the background.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <set>
#include <thread>

#include "base/error.h"
#include "config/registry.h"
#include "config/yaml_reader.h"
#include "data/images/augmentation.h"
#include "data/images/background_images.h"
#include "data/images/contact_sheet.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<DataSet> build(const std::string& yaml, const std::string& kind = "textured_shapes") {
  const Choice choice = make_choice(data_slot, kind, parse_yaml(yaml, "test.yaml"));
  return build_kind<DataSet, DataSite>(data_slot, choice, {"", 1});
}

std::vector<float> values(const Tensor& tensor) {
  const auto span = tensor.span<float>();
  return {span.begin(), span.end()};
}

ImageForm form_of(std::int64_t channels, std::int64_t height, std::int64_t width, bool is_dense = false) {
  const std::vector<double> mean(static_cast<std::size_t>(channels), 0.5), deviation(mean.size(), 0.25);
  return {channels, height, width, 4, is_dense, mean, deviation};
}

std::shared_ptr<const Augmentation> make(const std::string& kind, const std::string& yaml, const ImageForm& form) {
  return make_augmentations({make_choice(augmentation_slot, kind, parse_yaml(yaml, "test.yaml"))}, form).front();
}

// All values different.
Picture numbered(std::int64_t channels, std::int64_t height, std::int64_t width) {
  Picture picture{channels, height, width, std::vector<float>(static_cast<std::size_t>(channels * height * width)), {}};
  for (std::size_t i = 0; i < picture.values.size(); ++i) {
    picture.values[i] = static_cast<float>(i + 1) / static_cast<float>(picture.values.size() + 1);
  }
  return picture;
}

Picture augmented(const std::string& kind, const std::string& yaml, Picture picture, std::int64_t index,
                  std::int64_t height = 0, std::int64_t width = 0) {
  const ImageForm form = form_of(picture.channels, height == 0 ? picture.height : height,
                                 width == 0 ? picture.width : width, picture.is_dense());
  const RandomStream random(7, "test");
  Chances chances(random, index);
  make(kind, yaml, form)->apply(picture, form, chances);
  return picture;
}

TEST(Augmentation, FlipMirrorsPixelsAndClasses) {
  Picture picture{2, 1, 3, {1, 2, 3, 4, 5, 6}, {7, 8, 9}};
  const Picture flipped = augmented("horizontal_flip", "{probability: 1}", picture, 0);
  EXPECT_THAT(flipped.values, ElementsAre(3, 2, 1, 6, 5, 4));
  EXPECT_THAT(flipped.classes, ElementsAre(9, 8, 7));
  int count = 0;
  for (int i = 0; i < 400; ++i) count += augmented("horizontal_flip", "{}", picture, i).values[0] == 3 ? 1 : 0;
  EXPECT_NEAR(count, 200, 50);  // Five deviations.
}

TEST(Augmentation, CropMovesByUpToThePadding) {
  Picture picture = numbered(1, 5, 4);
  picture.classes.assign(20, 3);
  std::set<std::pair<std::int64_t, std::int64_t>> shifts;
  for (int i = 0; i < 300; ++i) {
    const Picture moved = augmented("random_crop", "{padding: 1}", picture, i);
    // The shift shows in the middle; what came in is black and of no class.
    bool is_found = false;
    for (std::int64_t dy = -1; dy <= 1; ++dy) {
      for (std::int64_t dx = -1; dx <= 1; ++dx) {
        const Picture expected = cropped(picture, dy, dx, 5, 4);
        if (expected.values != moved.values) continue;
        is_found = true;
        shifts.insert({dy, dx});
        for (std::size_t k = 0; k < 20; ++k) EXPECT_EQ(moved.classes[k] == no_target, moved.values[k] == 0);
      }
    }
    EXPECT_TRUE(is_found);
  }
  EXPECT_EQ(shifts.size(), 9u);
}

TEST(Augmentation, ResizedCropTakesRectanglesOfTheAskedArea) {
  // A ramp from left to right and one from top to bottom: the range of values tells width and height of the rectangle.
  Picture picture{2, 40, 60, std::vector<float>(4800), {}};
  for (std::size_t y = 0; y < 40; ++y) {
    for (std::size_t x = 0; x < 60; ++x) {
      picture.values[y * 60 + x] = static_cast<float>(x) / 60;
      picture.values[2400 + y * 60 + x] = static_cast<float>(y) / 40;
    }
  }
  double least = 1, most = 0;
  for (int i = 0; i < 300; ++i) {
    const Picture crop = augmented(
        "random_resized_crop", "{smallest_area: 0.2, largest_area: 0.6, interpolation: bilinear}", picture, i, 16, 16);
    EXPECT_EQ(crop.height, 16);
    const auto range = [&crop](std::size_t first) {
      return static_cast<double>(crop.values[first + 255] - crop.values[first]);
    };
    // First and last sample lie one half of a sixteenth inside; antialiasing moves them by less than a pixel.
    const double area = range(0) * range(256) / (15.0 * 15 / 256);
    least = std::min(least, area);
    most = std::max(most, area);
  }
  EXPECT_TRUE(least > 0.15 && least < 0.26) << least;
  EXPECT_TRUE(most > 0.52 && most < 0.68) << most;
}

TEST(Augmentation, JitterStaysInRangeAndAroundThePicture) {
  const Picture picture = numbered(3, 6, 6);
  std::vector<double> sums(picture.values.size());
  for (int i = 0; i < 500; ++i) {
    const Picture jittered =
        augmented("colour_jitter", "{brightness: 0.2, contrast: 0.2, saturation: 0.2}", picture, i);
    for (std::size_t k = 0; k < sums.size(); ++k) {
      EXPECT_TRUE(jittered.values[k] >= 0 && jittered.values[k] <= 1);
      sums[k] += static_cast<double>(jittered.values[k]) / 500;
    }
  }
  // The factors are 1 on average, with a deviation of 0.12 each, over 500 pictures; light values are cut off at 1.
  for (std::size_t k = 0; picture.values[k] < 0.7F; ++k) {
    EXPECT_NEAR(sums[k], static_cast<double>(picture.values[k]), 0.04);
  }
  EXPECT_EQ(augmented("colour_jitter", "{brightness: 0, contrast: 0, saturation: 0}", picture, 1).values.size(), 108u);
}

TEST(Augmentation, ErasingTakesItsShare) {
  const Picture picture{1, 20, 20, std::vector<float>(400, 2.0F), {}};
  int erased = 0;
  double area = 0;
  for (int i = 0; i < 1000; ++i) {
    const Picture result = augmented("random_erasing", "{probability: 0.5, fill: mean}", picture, i);
    const auto changed = std::count(result.values.begin(), result.values.end(), 0.5F);
    EXPECT_EQ(changed + std::count(result.values.begin(), result.values.end(), 2.0F), 400);
    erased += changed > 0 ? 1 : 0;
    area += static_cast<double>(changed) / 400;
  }
  EXPECT_NEAR(erased, 500, 80);  // Five deviations.
  // Uniform from 0.02 to 1/3; large narrow rectangles that do not fit are drawn again.
  EXPECT_NEAR(area / erased, 0.17, 0.02);
}

TEST(Augmentation, RandAugmentOperations) {
  const Picture picture = numbered(3, 8, 8);
  const auto one = [&](const std::string& name, double magnitude, int index = 0) {
    return augmented("rand_augment",
                     fmt::format("{{count: 1, magnitude: {}, deviation: 0, operations: [{}]}}", magnitude, name),
                     picture, index)
        .values;
  };
  for (const std::string name : {"rotate", "shear_x", "shear_y", "translate_x", "translate_y", "contrast", "brightness",
                                 "saturation", "solarize", "solarize_add"}) {
    const std::vector<float> nothing = one(name, 0), strong = one(name, 9);
    double difference = 0;
    for (std::size_t i = 0; i < nothing.size(); ++i) {
      EXPECT_NEAR(nothing[i], picture.values[i], 1e-6) << name;
      difference += std::abs(strong[i] - picture.values[i]);
    }
    EXPECT_GT(difference / 192, 0.005) << name;
  }
  Picture spot{1, 5, 5, std::vector<float>(25), {}};
  spot.values[12] = 0.5F;
  change_sharpness(spot, 0);
  EXPECT_NEAR(spot.values[12], 0.5 * 5 / 13, 1e-6);
  EXPECT_NEAR(spot.values[6], 0.5 / 13, 1e-6);
  EXPECT_NEAR(one("invert", 5)[10], 1 - picture.values[10], 1e-6);
  EXPECT_EQ(one("auto_contrast", 5)[0], 0);
  EXPECT_EQ(one("auto_contrast", 5)[63], 1);
  for (const float value : one("posterize", 5)) EXPECT_EQ(std::lround(value * 255) % 64, 0);  // 2 bits
  // Sixty-four different levels, evenly spread.
  EXPECT_NEAR(one("equalize", 5)[32], 32.0 / 63, 1e-6);
  EXPECT_THAT(message_of<ConfigError>([] { make("rand_augment", "{operations: [shear]}", form_of(3, 8, 8)); }),
              AllOf(HasSubstr("'shear'"), HasSubstr("did you mean 'shear_")));
  EXPECT_THAT(message_of<ConfigError>([] { make("rand_augment", "{}", form_of(3, 8, 8, true)); }),
              HasSubstr("moves pixels away from their labels"));
}

TEST(Augmentation, RotationTurnsAndTranslationMoves) {
  const Picture picture = numbered(1, 5, 5);
  const Picture quarter = warped(picture, {0, -1, 0, 1, 0, 0}, {0});
  for (std::size_t y = 0; y < 5; ++y) {
    for (std::size_t x = 0; x < 5; ++x) EXPECT_NEAR(quarter.values[y * 5 + x], picture.values[x * 5 + 4 - y], 1e-6);
  }
  const Picture moved = warped(picture, {1, 0, 2, 0, 1, 0}, {0.25});
  EXPECT_NEAR(moved.values[0], picture.values[2], 1e-6);
  EXPECT_NEAR(moved.values[4], 0.25, 1e-6);
}

// Images whose class c is the constant value c, so that what was mixed shows.
ImageBatch constant_batch() {
  ImageBatch batch;
  batch.images = Tensor::empty({4, 1, 8, 8});
  batch.soft_labels = Tensor::zeros({4, 4});
  for (int i = 0; i < 4; ++i) {
    batch.images.rows(i, i + 1).fill(i);
    batch.soft_labels.data<float>()[5 * i] = 1;
  }
  return batch;
}

TEST(Mixing, LabelsAreSharesOfThePictures) {
  for (const std::string kind : {"mixup", "cutmix"}) {
    const auto mixing = make(kind, "{alpha: 0.8, probability: 1}", form_of(1, 8, 8));
    const RandomStream random(3, "test");
    double own = 0;
    for (int i = 0; i < 200; ++i) {
      ImageBatch batch = constant_batch();
      Chances chances(random, i);
      mixing->mix(batch, chances);
      for (int row = 0; row < 4; ++row) {
        const std::vector<float> pixels = values(batch.images.rows(row, row + 1)),
                                 shares = values(batch.soft_labels.rows(row, row + 1));
        EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), 1, 1e-6);
        const double expected = shares[1] + 2 * shares[2] + 3 * shares[3];
        EXPECT_NEAR(std::accumulate(pixels.begin(), pixels.end(), 0.0) / 64, expected, 1e-5) << kind;
        own += static_cast<double>(shares[static_cast<std::size_t>(row)]) / 800;
      }
    }
    // Beta(a, a) has mean 1/2, and a quarter of the partners is the picture itself: 1/2 + 1/8. CutMix loses what lies
    // outside, so more of its own remains.
    EXPECT_NEAR(own, kind == "mixup" ? 0.625 : 0.77, 0.08) << kind;
  }
}

TEST(Mixing, ABatchIsMixedOnce) {
  const std::string list = "augment: [{kind: mixup, probability: 0.25}, {kind: cutmix, probability: 0.5}]";
  const auto data = build("{size: 12, background: false, " + list + "}"),
             plain = build("{size: 12, background: false}");
  int mixed = 0;
  for (std::int64_t step = 0; step < 200; ++step) {
    const ImageBatch batch = image_data(*data).training_images(step, 2);
    if (batch.soft_labels.defined()) {
      ++mixed;
      EXPECT_EQ(batch.soft_labels.shape(), (Shape{2, 8}));
    } else {
      EXPECT_EQ(values(batch.images), values(image_data(*plain).training_images(step, 2).images));
    }
  }
  EXPECT_NEAR(mixed, 150, 31);  // Five deviations.
  EXPECT_THAT(message_of<ConfigError>([] { build("{augment: [{kind: mixup, probability: 1}, {kind: cutmix}]}"); }),
              HasSubstr("add up to 1.5"));
  EXPECT_THAT(message_of<ConfigError>([] { build("{augment: [{kind: mixup}]}", "shape_segmentation"); }),
              AllOf(HasSubstr("augment.0 (mixup)"), HasSubstr("labels of pixels")));
}

TEST(Augmentation, DependsOnSeedAndPlaceAlone) {
  const std::string list =
      "{size: 16, augment: [{kind: random_resized_crop}, {kind: horizontal_flip}, {kind: random_crop}, {kind: "
      "rand_augment},"
      " {kind: colour_jitter}, {kind: random_erasing}, {kind: mixup}]}";
  const auto first = build(list), second = build(list);
  const auto batch = [](const DataSet& data, std::int64_t step) { return image_data(data).training_images(step, 3); };
  for (const std::int64_t step : {5, 0, 3}) {
    EXPECT_EQ(values(batch(*first, step).images), values(batch(*second, step).images));
  }
  EXPECT_NE(values(batch(*first, 0).images), values(batch(*first, 1).images));
  EXPECT_THAT(first->describe(), HasSubstr("augmented by random_resized_crop, horizontal_flip"));
  // Held-out images are left alone.
  const auto plain = build("{size: 16}");
  EXPECT_EQ(values(image_data(*first).held_out_images(0, 3).images),
            values(image_data(*plain).held_out_images(0, 3).images));
}

// Counts calls, tells the thread they come from, and fails where it is told to.
class CountingImages final : public ImageDataSet {
 public:
  std::int64_t channels() const override { return 1; }
  std::int64_t height() const override { return 1; }
  std::int64_t width() const override { return 1; }
  std::int64_t classes() const override { return 1; }
  std::int64_t training_images_count() const override { return 100; }
  std::string describe() const override { return "counting"; }
  ImageBatch training_images(std::int64_t step, std::int64_t batch) const override {
    ++calls;
    if (std::this_thread::get_id() != home) ++calls_elsewhere;
    if (step == 5) throw DataError("picture 5 of 'a.png' is damaged");
    return {Tensor::full({batch, 1, 1, 1}, static_cast<double>(step)), {}, {}, ""};
  }
  std::int64_t held_out_batches(std::int64_t, std::int64_t) const override { return 3; }
  ImageBatch held_out_images(std::int64_t index, std::int64_t batch) const override {
    check_invariant(index < 3, "behind the end");
    return training_images(10 + index, batch);
  }
  const std::thread::id home = std::this_thread::get_id();
  mutable std::atomic<int> calls = 0, calls_elsewhere = 0;
};

TEST(Background, TheSameBatchesFromAnotherThread) {
  auto owned = std::make_unique<CountingImages>();
  const CountingImages& inner = *owned;
  const auto data = in_background(std::move(owned));
  const auto value = [&](std::int64_t step, std::int64_t batch) {
    const ImageBatch result = data->training_images(step, batch);
    EXPECT_EQ(result.images.shape()[0], batch);
    return result.images.data<float>()[0];
  };
  for (const std::int64_t step : {0, 1, 2, 3, 4}) EXPECT_EQ(value(step, 2), static_cast<float>(step));
  EXPECT_GE(inner.calls_elsewhere, 3);  // From the third on; the next one may be under way.
  // The exception of step 5 comes out where step 5 is asked for, and again when it is asked for again.
  EXPECT_THAT(message_of<DataError>([&] { value(5, 2); }), HasSubstr("'a.png'"));
  EXPECT_THAT(message_of<DataError>([&] { value(5, 2); }), HasSubstr("'a.png'"));
  // Jumps, other sizes and held-out batches in between.
  for (const std::int64_t step : {9, 6, 7, 8, 8, 9, 2}) EXPECT_EQ(value(step, 3), static_cast<float>(step));
  for (std::int64_t index = 0; index < 3; ++index) {
    EXPECT_EQ(data->held_out_images(index, 4).images.data<float>()[0], static_cast<float>(10 + index));
  }
  for (const std::int64_t step : {6, 7, 8, 9}) EXPECT_EQ(value(step, 1), static_cast<float>(step));
}

TEST(Background, ManyThreadsMayAsk) {
  const auto data = in_background(std::make_unique<CountingImages>());
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&data, &wrong] {
      for (std::int64_t step = 6; step < 60; ++step) {
        if (data->training_images(step, 2).images.data<float>()[0] != static_cast<float>(step)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(ContactSheet, LaysPicturesAndClassesOut) {
  ImageBatch batch;
  batch.images = Tensor::from<float>({2, 1, 1, 2}, std::vector<float>{-1, 0, 1, -1});
  batch.labels = Tensor::from<std::int64_t>({2}, std::vector<std::int64_t>{0, 1});
  const BytePicture plain = contact_sheet(batch, 2, 5, 2);
  // Two lines of two pixels around and between; each picture is 2 x 4.
  EXPECT_EQ(plain.height, 2 + 2 + 2);
  EXPECT_EQ(plain.width, 2 + 4 + 2 + 4 + 2);
  EXPECT_THAT(std::vector<std::uint8_t>(plain.values.begin() + 2 * plain.width, plain.values.begin() + 3 * plain.width),
              ElementsAre(128, 128, 0, 0, 128, 128, 128, 128, 255, 255, 0, 0, 128, 128));
  batch.labels = Tensor::from<std::int64_t>({2, 1, 2}, std::vector<std::int64_t>{0, 1, no_target, 2});
  const BytePicture dense = contact_sheet(batch, 3, 2, 1);
  EXPECT_EQ(dense.height, 2 * 3 + 2);
  EXPECT_THAT(std::vector<std::uint8_t>(dense.values.begin() + 5 * dense.width, dense.values.begin() + 6 * dense.width),
              ElementsAre(128, 128, 255, 0, 128, 128, 0, 255, 128, 128));
}

}  // namespace
}  // namespace rwkvlab
