// Image data from files: PNG, JPEG, IDX, CIFAR, folders; scaling; and what is wrong with them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/gzip.h"
#include "config/registry.h"
#include "config/yaml_reader.h"
#include "data/image_data_set.h"
#include "data/images/resize.h"
#include "tests/data/picture_bytes.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;
using test::cifar_record;
using test::encode_jpeg;
using test::gradient;
using test::idx_file;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class ImageFiles : public testing::Test {
 protected:
  std::unique_ptr<DataSet> build(const std::string& kind, const std::string& yaml) const {
    const Choice choice = make_choice(data_slot, kind, parse_yaml(yaml, "test.yaml"));
    return build_kind<DataSet, DataSite>(data_slot, choice, {folder_.path(), 1});
  }
  template <class E = DataError>
  std::string refusal(const std::string& kind, const std::string& yaml) const {
    return message_of<E>([&] {
      const auto data = build(kind, yaml);
      const ImageDataSet& images = image_data(*data);
      for (int step = 0; step < 4; ++step) images.training_images(step, 4);
    });
  }
  void picture(const std::string& name, const BytePicture& picture) const { folder_.make(name, encode_png(picture)); }
  // Three classes of three pictures; 8 x 6 pixels.
  void classes() const {
    for (const std::string name : {"bee", "ant", "cat"}) {
      for (const char letter : {'1', '2'}) picture("pictures/" + name + "/" + letter + ".png", gradient(3, 8, 6));
      folder_.make("pictures/" + name + "/3.JPG", encode_jpeg(gradient(3, 8, 6)));
    }
  }
  TemporaryFolder folder_;
};

std::vector<std::int64_t> labels(const ImageBatch& batch) {
  const auto span = batch.labels.span<std::int64_t>();
  return {span.begin(), span.end()};
}

TEST(Png, ComesBack) {
  for (const std::int64_t channels : {1, 3}) {
    const BytePicture picture = gradient(channels, 5, 9), again = decode_png(encode_png(picture), "x");
    EXPECT_EQ(again.channels, channels);
    EXPECT_EQ(again.height, 5);
    EXPECT_EQ(again.width, 9);
    EXPECT_EQ(again.values, picture.values);
  }
}

TEST(Jpeg, ComesBackAlmost) {
  for (const std::int64_t channels : {1, 3}) {
    for (const bool is_progressive : {false, true}) {
      const BytePicture picture = gradient(channels, 16, 16),
                        again = decode_jpeg(encode_jpeg(picture, is_progressive), "x");
      ASSERT_EQ(again.values.size(), picture.values.size());
      double error = 0;
      for (std::size_t i = 0; i < picture.values.size(); ++i) error += std::abs(picture.values[i] - again.values[i]);
      // Quality 95 on a gradient: a few levels; exchanged channels would be 60 away.
      EXPECT_LT(error / static_cast<double>(picture.values.size()), 4) << channels;
    }
  }
}

TEST(Codecs, DamagedFilesAreNamed) {
  const BytePicture picture = gradient(3, 16, 16);
  const std::string png = encode_png(picture), jpeg = encode_jpeg(picture);
  const auto refusal = [](const std::string& bytes) {
    return message_of<DataError>([&] { decode_picture(bytes, "a/b.png"); });
  };
  for (const std::string& whole : {png, jpeg}) {
    for (const std::size_t size : {whole.size() - 1, whole.size() - 10, whole.size() / 2, std::size_t{20}}) {
      EXPECT_THAT(refusal(whole.substr(0, size)), HasSubstr("'a/b.png' is no readable")) << size;
    }
  }
  std::string damaged = png;
  damaged[png.size() / 2] = static_cast<char>(~damaged[png.size() / 2]);
  EXPECT_THAT(refusal(damaged), HasSubstr("'a/b.png' is no readable PNG picture: "));
  EXPECT_THAT(refusal("GIF89a"), HasSubstr("neither a PNG nor a JPEG"));
  EXPECT_THAT(refusal(""), HasSubstr("an empty file"));
  const auto large = [](const std::string& bytes) {
    return message_of<DataError>([&] { decode_picture(bytes, "x", 255); });
  };
  EXPECT_THAT(large(png), HasSubstr("16 x 16 pixels, expected at most 255"));
  EXPECT_THAT(large(jpeg), HasSubstr("16 x 16 pixels, expected at most 255"));
}

TEST(Resize, KeepsConstantsMeansAndStraightLines) {
  Picture flat{3, 7, 5, std::vector<float>(105, 0.25F), {}};
  for (const Interpolation interpolation : {Interpolation::bilinear, Interpolation::bicubic}) {
    for (const auto& [height, width] : {std::pair{3, 2}, {20, 11}, {7, 1}}) {
      for (const float value : resized(flat, height, width, interpolation).values) EXPECT_NEAR(value, 0.25F, 1e-6);
    }
    // Away from the border, a ramp stays a ramp: both kernels reproduce straight lines.
    Picture ramp{1, 1, 40, std::vector<float>(40), {}};
    for (std::size_t i = 0; i < 40; ++i) ramp.values[i] = static_cast<float>(i) / 40;
    for (const std::int64_t width : {10, 20, 80}) {
      const Picture result = resized(ramp, 1, width, interpolation);
      const double scale = 40.0 / static_cast<double>(width);
      for (std::int64_t d = width / 4; d < 3 * width / 4; ++d) {
        EXPECT_NEAR(result.values[static_cast<std::size_t>(d)], ((static_cast<double>(d) + 0.5) * scale - 0.5) / 40,
                    1e-5)
            << width;
      }
    }
    // Antialiasing: single lines become grey, whatever their place.
    Picture lines{1, 1, 64, std::vector<float>(64), {}};
    for (std::size_t i = 0; i < 64; i += 2) lines.values[i] = 1;
    const Picture result = resized(lines, 1, 8, interpolation);
    for (std::size_t i = 1; i < 7; ++i) EXPECT_NEAR(result.values[i], 0.5F, 0.02);
  }
  Picture dense{1, 2, 2, {0, 0, 0, 0}, {5, 6, 7, -1}};
  EXPECT_THAT(resized(dense, 4, 4, Interpolation::bicubic).classes,
              ElementsAre(5, 5, 6, 6, 5, 5, 6, 6, 7, 7, -1, -1, 7, 7, -1, -1));
}

TEST(Resize, EvaluationCutsTheCentre) {
  Picture picture{1, 4, 8, std::vector<float>(32), {}};
  for (std::size_t i = 0; i < 32; ++i) picture.values[i] = static_cast<float>(i) / 32;
  // Covers already: only the sides go.
  const Picture centre = fitted(picture, 4, 4, 1, Interpolation::bilinear);
  for (std::size_t row = 0; row < 4; ++row) EXPECT_EQ(centre.values[row * 4], picture.values[row * 8 + 2]);
  EXPECT_EQ(fitted(picture, 3, 2, 0.5, Interpolation::bicubic).values.size(), 6u);
}

TEST_F(ImageFiles, Idx) {
  const std::string pixels("\x00\x33\x66\xFF\x10\x20\x30\x40\x01\x02\x03\x04", 12);
  folder_.make("mnist/train-images-idx3-ubyte.gz", gzip(idx_file({3, 2, 2}, pixels)));
  folder_.make("mnist/train-labels-idx1-ubyte", idx_file({3}, std::string("\x07\x00\x02", 3)));
  folder_.make("mnist/t10k-images-idx3-ubyte", idx_file({1, 2, 2}, pixels.substr(4, 4)));
  folder_.make("mnist/t10k-labels-idx1-ubyte", idx_file({1}, "\x01"));
  const auto data = build("idx_images", "{folder: mnist, order: in_turn, mean: 0.2, deviation: 0.5}");
  const ImageDataSet& images = image_data(*data);
  EXPECT_EQ(images.training_images_count(), 3);
  EXPECT_EQ(images.classes(), 10);
  const ImageBatch batch = images.training_images(0, 4);
  EXPECT_EQ(batch.images.shape(), (Shape{4, 1, 2, 2}));
  EXPECT_THAT(labels(batch), ElementsAre(7, 0, 2, 7));
  const double expected[] = {0, 0.2, 0.4, 1};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(batch.images.data<float>()[i], (expected[i] - 0.2) / 0.5, 1e-6);
  EXPECT_EQ(images.held_out_batches(64), 1);
  EXPECT_THAT(labels(images.held_out_images(0, 64)), ElementsAre(1));
  EXPECT_THAT(data->describe(), HasSubstr("3 training and 1 held-out images of 1 x 2 x 2, 10 classes"));
  const auto colour = build("idx_images", "{folder: mnist, colour: rgb, size: 5}");
  EXPECT_EQ(image_data(*colour).training_images(0, 2).images.shape(), (Shape{2, 3, 5, 5}));

  EXPECT_THAT(refusal("idx_images", "{folder: mnist, classes: 7}"),
              AllOf(HasSubstr("train-labels"), HasSubstr("picture 0 is 7"), HasSubstr("0 to 6")));
  const std::string skipping = "{folder: mnist, classes: 7, skip_corrupt: true}";
  EXPECT_EQ(image_data(*build("idx_images", skipping)).training_images_count(), 2);
  EXPECT_THAT(build("idx_images", skipping)->describe(), HasSubstr("1 damaged image skipped"));
  folder_.make("mnist/train-images-idx3-ubyte", idx_file({3, 2, 2}, pixels.substr(0, 11)));
  EXPECT_THAT(refusal("idx_images", "{folder: mnist}"),
              AllOf(HasSubstr("train-images"), HasSubstr("2 of 3 pictures"), HasSubstr("skip_corrupt")));
  EXPECT_EQ(image_data(*build("idx_images", "{folder: mnist, skip_corrupt: true}")).training_images_count(), 2);
  folder_.make("mnist/train-images-idx3-ubyte", idx_file({3, 2, 2}, pixels + "x"));
  EXPECT_THAT(refusal("idx_images", "{folder: mnist}"), HasSubstr("1 bytes behind its 3 rows"));
  folder_.make("mnist/train-images-idx3-ubyte", idx_file({4, 2, 2}, pixels + "1234"));
  EXPECT_THAT(refusal("idx_images", "{folder: mnist}"), HasSubstr("has 4 pictures, but"));
  folder_.make("mnist/train-images-idx3-ubyte", idx_file({12}, pixels));
  EXPECT_THAT(refusal("idx_images", "{folder: mnist}"), HasSubstr("1 dimension, expected 3"));
  folder_.make("mnist/train-images-idx3-ubyte", std::string("\0\0\x0D\3", 4) + std::string(20, '\0'));
  EXPECT_THAT(refusal("idx_images", "{folder: mnist}"), HasSubstr("of type 13, expected 8"));
  EXPECT_THAT(refusal("idx_images", "{folder: mnits}"), HasSubstr("did you mean"));
  EXPECT_THAT(refusal<ConfigError>("idx_images", "{folder: mnist, train: [a]}"), HasSubstr("images, labels"));
}

TEST_F(ImageFiles, Cifar) {
  for (int i = 1; i <= 5; ++i) {
    folder_.make("c10/data_batch_" + std::to_string(i) + ".bin", cifar_record(std::string(1, char(i)), char(10 * i)));
  }
  folder_.make("c10/test_batch.bin", cifar_record("\x09", '\x33') + cifar_record("\x01", '\x66'));
  const auto data = build("cifar10", "{folder: c10, order: in_turn, mean: 0, deviation: 1}");
  const ImageBatch batch = image_data(*data).training_images(0, 5);
  EXPECT_EQ(batch.images.shape(), (Shape{5, 3, 32, 32}));
  EXPECT_THAT(labels(batch), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_FLOAT_EQ(batch.images.data<float>()[4 * cifar_bytes], 50 / 255.0F);
  EXPECT_FLOAT_EQ(image_data(*data).held_out_images(0, 2).images.data<float>()[cifar_bytes], 0.4F);
  folder_.make("c10/data_batch_3.bin", cifar_record("\x0A", 'x') + "half");
  EXPECT_THAT(refusal("cifar10", "{folder: c10}"),
              AllOf(HasSubstr("data_batch_3.bin"), HasSubstr("record 1 is cut off"), HasSubstr("multiple of 3073")));
  EXPECT_THAT(build("cifar10", "{folder: c10, skip_corrupt: true}")->describe(),
              AllOf(HasSubstr("4 training"), HasSubstr("2 damaged images skipped")));
  folder_.make("c10/data_batch_3.bin", cifar_record("\x0A", 'x'));
  EXPECT_THAT(refusal("cifar10", "{folder: c10}"), AllOf(HasSubstr("picture 0 is 10"), HasSubstr("0 to 9")));

  folder_.make("c100/train.bin", cifar_record("\x03\x42", 'a'));
  folder_.make("c100/test.bin", cifar_record("\x13\x63", 'b'));
  EXPECT_THAT(labels(image_data(*build("cifar100", "{folder: c100}")).training_images(0, 1)), ElementsAre(0x42));
  EXPECT_THAT(labels(image_data(*build("cifar100", "{folder: c100, labels: coarse}")).held_out_images(0, 1)),
              ElementsAre(0x13));
}

TEST_F(ImageFiles, FoldersOfClasses) {
  classes();
  folder_.make("pictures/ant/notes.txt", "no picture");
  const auto data = build("image_folder", "{folder: pictures, order: in_turn, size: [8, 6], held_out_fraction: 0}");
  const ImageDataSet& images = image_data(*data);
  EXPECT_EQ(images.training_images_count(), 9);
  EXPECT_EQ(images.held_out_batches(1), 0);
  EXPECT_EQ(images.classes(), 3);
  const ImageBatch batch = images.training_images(0, 9);
  EXPECT_EQ(batch.images.shape(), (Shape{9, 3, 8, 6}));
  EXPECT_THAT(labels(batch), ElementsAre(0, 0, 0, 1, 1, 1, 2, 2, 2));
  // The picture itself, at its own size.
  EXPECT_NEAR(batch.images.data<float>()[7], (46 / 255.0 - 0.5) / 0.5, 1e-6);
  const auto split = build("image_folder", "{folder: pictures, size: 4, held_out_fraction: 0.4}");
  EXPECT_EQ(image_data(*split).training_images_count(), 6);
  EXPECT_EQ(image_data(*split).held_out_images(0, 9).images.shape(), (Shape{3, 3, 4, 4}));
}

TEST_F(ImageFiles, WhatIsWrongWithFolders) {
  classes();
  const std::string all = "{folder: pictures, held_out_fraction: 0, size: 8";
  EXPECT_THAT(refusal<ConfigError>("image_folder", "{folder: pictures}"), HasSubstr("set size: [height, width]"));
  EXPECT_THAT(refusal("image_folder", "{folder: pictures/ant, size: 8}"), HasSubstr("has no folders"));
  fs::create_directories(folder_ / "pictures/dog");
  EXPECT_THAT(refusal("image_folder", all + "}"), AllOf(HasSubstr("pictures/dog"), HasSubstr("without examples")));
  fs::remove(folder_ / "pictures/dog");
  picture("held/ant/1.png", gradient(3, 8, 6));
  picture("held/bees/1.png", gradient(3, 8, 6));
  EXPECT_THAT(refusal("image_folder", "{folder: pictures, held_out_folder: held, size: 8}"),
              AllOf(HasSubstr("held/bees"), HasSubstr("no class"), HasSubstr("'bee'")));
  picture("pictures/bee/2.png", gradient(1, 8, 6));
  EXPECT_THAT(
      refusal("image_folder", all + "}"),
      AllOf(HasSubstr("picture 4 ('"), HasSubstr("pictures/bee/2.png') has 1 channel, "), HasSubstr("colour: rgb")));
  const auto alike = build("image_folder", all + ", skip_corrupt: true}");
  EXPECT_EQ(image_data(*alike).training_images(0, 9).images.shape()[1], 3);
  EXPECT_THAT(alike->describe(), AllOf(HasSubstr("8 training"), HasSubstr("1 damaged image skipped")));
  EXPECT_THAT(build("image_folder", all + ", skip_corrupt: true, colour: grey}")->describe(), HasSubstr("9 training"));
  EXPECT_EQ(image_data(*build("image_folder", all + ", colour: rgb}")).training_images(0, 9).images.shape()[1], 3);
  folder_.make("pictures/bee/2.png", encode_png(gradient(3, 8, 6)).substr(0, 60));
  EXPECT_THAT(refusal("image_folder", all + "}"),
              AllOf(HasSubstr("picture 4"), HasSubstr("pictures/bee/2.png"), HasSubstr("skip_corrupt")));
  const auto skipping = build("image_folder", all + ", skip_corrupt: true}");
  EXPECT_EQ(image_data(*skipping).training_images_count(), 8);
  EXPECT_THAT(skipping->describe(), HasSubstr("1 damaged image skipped"));
  EXPECT_THAT(refusal<ConfigError>("image_folder", all + ", mean: [0.1, 0.2]}"), HasSubstr("mean has 2 numbers"));
}

TEST_F(ImageFiles, Masks) {
  const BytePicture mask{1, 2, 3, {0, 1, 2, 255, 1, 0}};
  picture("pictures/a.png", gradient(3, 2, 3));
  folder_.make("masks/a.png", encode_png(mask));
  const std::string yaml = "{folder: pictures, masks: masks, classes: 3, size: [2, 3], held_out_fraction: 0}";
  const auto data = build("segmentation_folder", yaml);
  EXPECT_TRUE(image_data(*data).is_dense());
  const ImageBatch batch = image_data(*data).training_images(0, 2);
  EXPECT_EQ(batch.labels.shape(), (Shape{2, 2, 3}));
  EXPECT_THAT(labels(batch), ElementsAre(0, 1, 2, no_target, 1, 0, 0, 1, 2, no_target, 1, 0));
  folder_.make("masks/a.png", encode_png({1, 2, 3, {0, 1, 2, 3, 1, 0}}));
  EXPECT_THAT(refusal("segmentation_folder", yaml),
              AllOf(HasSubstr("masks/a.png"), HasSubstr("pixel (1, 0) is of class 3"), HasSubstr("0 to 2")));
  folder_.make("masks/a.png", encode_png({1, 1, 3, {0, 1, 2}}));
  EXPECT_THAT(refusal("segmentation_folder", yaml), HasSubstr("1 x 3 pixels, but its picture has 2 x 3"));
  folder_.make("masks/a.png", encode_png(gradient(3, 2, 3)));
  EXPECT_THAT(refusal("segmentation_folder", yaml), HasSubstr("one number per pixel"));
  picture("pictures/b.png", gradient(3, 2, 3));
  EXPECT_THAT(refusal("segmentation_folder", yaml), HasSubstr("has no mask: expected"));
}

}  // namespace
}  // namespace rwkvlab
