// Generated image data: the same bytes everywhere, labels that follow from the pixels, and even distributions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "config/registry.h"
#include "config/yaml_reader.h"
#include "data/image_data_set.h"
#include "data/images/generated/shapes.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {
using testing::AllOf;
using testing::HasSubstr;

std::unique_ptr<DataSet> build(const std::string& kind, const std::string& yaml, std::uint64_t seed = 1) {
  const Choice choice = make_choice(data_slot, kind, parse_yaml(yaml, "test.yaml"));
  return build_kind<DataSet, DataSite>(data_slot, choice, {"", seed});
}

ImageBatch batch_of(const std::string& kind, const std::string& yaml, std::int64_t count, std::uint64_t seed = 1) {
  return image_data(*build(kind, yaml, seed)).training_images(0, count);
}

// Values of one channel of one picture, as levels of 0 to 255 when mean is 0 and deviation 1.
std::vector<int> levels(const ImageBatch& batch, std::int64_t row, std::int64_t channel = 0) {
  const Shape& shape = batch.images.shape();
  const std::int64_t pixels = shape[2] * shape[3];
  const float* const values = batch.images.data<float>() + (row * shape[1] + channel) * pixels;
  std::vector<int> result;
  for (std::int64_t i = 0; i < pixels; ++i) result.push_back(static_cast<int>(std::lround(values[i] * 255)));
  return result;
}

std::int64_t label(const ImageBatch& batch, std::int64_t row) { return batch.labels.data<std::int64_t>()[row]; }

std::string bytes_of(const ImageBatch& batch) {
  std::string bytes;
  for (std::int64_t row = 0; row < batch.images.shape()[0]; ++row) {
    for (std::int64_t channel = 0; channel < batch.images.shape()[1]; ++channel) {
      for (const int level : levels(batch, row, channel)) bytes += std::to_string(level) + " ";
    }
  }
  for (const std::int64_t value : batch.labels.span<std::int64_t>()) bytes += std::to_string(value) + " ";
  return bytes;
}

// Hashes of images that were once made; a change of them breaks published runs.
TEST(GeneratedImages, TheBytesNeverChange) {
  const std::map<std::string, std::uint64_t> hashes = {{"glyph_pairs", 12911536381512751311ULL},
                                                       {"textured_shapes", 4268285021434169519ULL},
                                                       {"shape_segmentation", 2250501940997356336ULL},
                                                       {"pathfinder", 9895801253919966154ULL}};
  for (const auto& [kind, hash] : hashes) {
    const auto data = build(kind, "{mean: 0, deviation: 1, order: in_turn}", 20);
    const ImageDataSet& images = image_data(*data);
    EXPECT_EQ(stable_hash(bytes_of(images.training_images(1, 4)) + bytes_of(images.held_out_images(0, 4))), hash)
        << kind;
  }
}

TEST(GeneratedImages, DependOnSeedSplitAndIndexAlone) {
  for (const std::string kind : {"glyph_pairs", "textured_shapes", "shape_segmentation", "pathfinder"}) {
    const auto data = build(kind, "{order: in_turn, images: 10, held_out_images: 5}");
    const ImageDataSet& images = image_data(*data);
    const std::string first = bytes_of(images.training_images(0, 2));
    EXPECT_EQ(bytes_of(images.training_images(5, 2)), first) << kind;  // The second epoch.
    EXPECT_EQ(bytes_of(batch_of(kind, "{order: in_turn}", 2)), first) << kind;
    EXPECT_NE(bytes_of(batch_of(kind, "{order: in_turn}", 2, 2)), first) << kind;
    EXPECT_EQ(bytes_of(batch_of(kind, "{order: in_turn, seed: 1}", 2, 2)), first) << kind;
    EXPECT_NE(bytes_of(images.held_out_images(0, 2)), first) << kind;
    EXPECT_EQ(images.held_out_batches(2), 3);
    EXPECT_EQ(images.held_out_batches(2, 2), 2);
    EXPECT_EQ(images.held_out_images(2, 2).images.shape()[0], 1);
    // Fresh images never come twice; `images` does not count.
    const auto fresh = build(kind, "{order: fresh, images: 1}");
    std::set<std::string> seen;
    for (std::int64_t step = 0; step < 10; ++step) seen.insert(bytes_of(image_data(*fresh).training_images(step, 2)));
    EXPECT_EQ(seen.size(), 10u) << kind;
    EXPECT_EQ(image_data(*fresh).training_images_count(), 0);
    const ShapeOnly shape_only;
    EXPECT_EQ(images.training_images(0, 7).images.shape()[0], 7);
  }
}

TEST(GeneratedImages, ShuffledEpochsHaveTheSameImages) {
  const auto data = build("textured_shapes", "{images: 12, size: 12}");
  std::multiset<std::string> first, second;
  std::vector<std::string> order, again;
  for (std::int64_t step = 0; step < 12; ++step) {
    order.push_back(bytes_of(image_data(*data).training_images(step, 1)));
    again.push_back(bytes_of(image_data(*data).training_images(step + 12, 1)));
  }
  EXPECT_NE(order, again);
  EXPECT_THAT(again, testing::UnorderedElementsAreArray(order));
}

// Each of `classes` labels comes up as often as the others: within five deviations of a multinomial.
void expect_even(const ImageBatch& batch, std::int64_t classes) {
  std::map<std::int64_t, int> counts;
  const std::int64_t rows = batch.images.shape()[0];
  for (std::int64_t row = 0; row < rows; ++row) ++counts[label(batch, row)];
  const double share = 1 / static_cast<double>(classes), mean = static_cast<double>(rows) * share;
  for (std::int64_t c = 0; c < classes; ++c) EXPECT_NEAR(counts[c], mean, 5 * std::sqrt(mean * (1 - share))) << c;
  EXPECT_EQ(static_cast<std::int64_t>(counts.size()), classes);
}

// Each 3 x 3 glyph of a picture without noise, as nine bits.
std::vector<int> glyphs_of(const std::vector<int>& pixels, int rows, int columns) {
  std::vector<int> glyphs;
  for (int cell = 0; cell < rows * columns; ++cell) {
    int glyph = 0;
    for (int i = 0; i < 9; ++i) {
      const int y = cell / columns * 3 + i / 3, x = cell % columns * 3 + i % 3;
      glyph = 2 * glyph + (pixels[static_cast<std::size_t>(y * columns * 3 + x)] > 127 ? 1 : 0);
    }
    glyphs.push_back(glyph);
  }
  return glyphs;
}

TEST(GlyphPairs, TheLabelFollowsFromTheGlyphs) {
  constexpr int rows = 7, columns = 9, saltire = 0b101010101, plus = 0b010111010, ring = 0b111101111;
  const ImageBatch batch =
      batch_of("glyph_pairs", "{rows: 7, columns: 9, pairs: 3, markers: 2, noise: 0, mean: 0, deviation: 1}", 400);
  int marked = 0;
  std::map<int, int> places;
  for (std::int64_t row = 0; row < 400; ++row) {
    const std::vector<int> glyphs = glyphs_of(levels(batch, row), rows, columns);
    std::map<int, int> directions;
    int pluses = 0, rings = 0;
    for (int cell = 0; cell < rows * columns; ++cell) {
      const int glyph = glyphs[static_cast<std::size_t>(cell)];
      pluses += glyph == plus ? 1 : 0;
      if (glyph == ring) {
        EXPECT_EQ(cell / columns, rows - 1);
      }
      rings += glyph == ring ? 1 : 0;
      if (glyph != saltire) continue;
      ++places[cell];
      const int steps[] = {-1, 1, -columns, columns};
      for (int d = 0; d < 4; ++d) directions[d] += glyphs[static_cast<std::size_t>(cell + steps[d])] == plus ? 1 : 0;
    }
    EXPECT_EQ(pluses, 3);
    EXPECT_TRUE(rings == 0 || rings == 2);
    const std::int64_t direction = rings > 0 ? (label(batch, row) + 2) % 4 : label(batch, row);
    for (int d = 0; d < 4; ++d) EXPECT_EQ(directions[d], d == direction ? 3 : 0) << row;
    marked += rings / 2;
  }
  EXPECT_NEAR(marked, 200, 50);  // Five deviations.
  EXPECT_EQ(places.size(), 4u * 7u);
  expect_even(batch, 4);
}

TEST(GlyphPairs, NoiseHasTheGivenDeviation) {
  const std::string common = "rows: 16, columns: 16, mean: 0, deviation: 1, noise: ";
  const ImageBatch noisy = batch_of("glyph_pairs", "{" + common + "0.3}", 20),
                   clean = batch_of("glyph_pairs", "{" + common + "0}", 20);
  double sum = 0, squares = 0;
  const std::int64_t count = clean.images.elements();
  for (std::int64_t i = 0; i < count; ++i) {
    const double noise = static_cast<double>(noisy.images.data<float>()[i] - clean.images.data<float>()[i]) * 255;
    sum += noise;
    squares += noise * noise;
  }
  const double n = static_cast<double>(count);
  // 0.3 of 85 levels; the mean of 46,000 values within five deviations, the spread within 2 % (rounding, a little cut
  // off).
  EXPECT_NEAR(sum / n, 0, 5 * 25.5 / std::sqrt(n));
  EXPECT_NEAR(std::sqrt(squares / n), 25.5, 0.5);
}

TEST(GlyphPairs, CrowdedGridsAreRefused) {
  const auto refusal = [](const std::string& yaml) {
    return message_of<ConfigError>([&] { build("glyph_pairs", yaml); });
  };
  EXPECT_THAT(refusal("{markers: 9}"), HasSubstr("9 rings do not fit into a row of 8"));
  EXPECT_THAT(refusal("{pairs: 6}"), AllOf(HasSubstr("6 pairs hardly fit"), HasSubstr("at most 5")));
  // The most that is allowed does fit.
  for (const std::string grid :
       {"{pairs: 5}", "{rows: 4, columns: 3, pairs: 1}", "{rows: 40, columns: 40, pairs: 185}"}) {
    EXPECT_EQ(batch_of("glyph_pairs", grid, 3).images.shape()[0], 3);
  }
}

TEST(TexturedShapes, LabelsAreEvenAndShapesDiffer) {
  expect_even(batch_of("textured_shapes", "{size: 12, label: shape}", 2000), 8);
  expect_even(batch_of("textured_shapes", "{size: 12, label: texture}", 2000), 5);
  expect_even(batch_of("textured_shapes", "{size: 12, label: both}", 4000), 40);
  // No two kinds cover the same pixels; all of them cover some and leave some.
  std::set<std::vector<bool>> masks;
  for (std::int64_t kind = 0; kind < 8; ++kind) {
    const PlacedShape shape{kind, 16 * 16, 16 * 16, 12 * 16};
    std::vector<bool> mask;
    for (std::int64_t i = 0; i < 32 * 32; ++i) mask.push_back(shape.covers(i / 32, i % 32));
    const auto covered = std::count(mask.begin(), mask.end(), true);
    EXPECT_TRUE(covered > 80 && covered < 600) << shape_names[static_cast<std::size_t>(kind)] << " " << covered;
    masks.insert(mask);
  }
  EXPECT_EQ(masks.size(), 8u);
  EXPECT_THROW(build("textured_shapes", "{channels: 2}"), ConfigError);
}

TEST(ShapeSegmentation, ClassesLieWhereTheShapesAre) {
  const ImageBatch batch = batch_of("shape_segmentation", "{noise: 0, mean: 0, deviation: 1}", 300);
  EXPECT_EQ(batch.labels.shape(), (Shape{300, 32, 32}));
  std::map<std::int64_t, int> images;
  double ground = 0;
  for (std::int64_t row = 0; row < 300; ++row) {
    std::set<std::int64_t> present;
    // Without noise a surface has two colours, so the pixels of n + 1 surfaces have at most 2 (n + 1) of them.
    std::map<std::int64_t, std::set<std::vector<int>>> colours;
    const std::vector<int> red = levels(batch, row, 0), green = levels(batch, row, 1), blue = levels(batch, row, 2);
    for (std::size_t i = 0; i < 1024; ++i) {
      const std::int64_t c = batch.labels.data<std::int64_t>()[row * 1024 + static_cast<std::int64_t>(i)];
      ASSERT_TRUE(c >= 0 && c <= 8);
      present.insert(c);
      colours[c].insert({red[i], green[i], blue[i]});
      ground += c == 0 ? 1 : 0;
    }
    EXPECT_LE(colours[0].size(), 2u);
    for (const std::int64_t c : present) ++images[c];
  }
  EXPECT_EQ(images[0], 300);
  // A kind is among 1 to 4 shapes (2.5 on average): in about 27 % of the images; five deviations.
  for (std::int64_t c = 1; c <= 8; ++c) EXPECT_NEAR(images[c], 0.27 * 300, 40) << c;
  const double share = ground / (300 * 1024);
  EXPECT_TRUE(share > 0.6 && share < 0.9) << share;
}

// The pixels that can be reached from `from` over bright ones, also diagonally.
std::vector<bool> reached(const std::vector<int>& pixels, int size, int from) {
  std::vector<bool> seen(pixels.size());
  std::vector<int> open{from};
  seen[static_cast<std::size_t>(from)] = true;
  while (!open.empty()) {
    const int pixel = open.back();
    open.pop_back();
    for (int dy = -1; dy <= 1; ++dy) {
      for (int dx = -1; dx <= 1; ++dx) {
        const int y = pixel / size + dy, x = pixel % size + dx;
        if (y < 0 || x < 0 || y >= size || x >= size) continue;
        const auto next = static_cast<std::size_t>(y * size + x);
        if (pixels[next] == 0 || seen[next]) continue;
        seen[next] = true;
        open.push_back(y * size + x);
      }
    }
  }
  return seen;
}

// Centres of 3 x 3 blocks of bright pixels: the dots, as paths are one pixel wide (or, in a bend, have no such block).
std::vector<int> dots(const std::vector<int>& pixels, int size) {
  std::vector<int> found;
  for (int y = 1; y + 1 < size; ++y) {
    for (int x = 1; x + 1 < size; ++x) {
      bool is_block = true;
      for (int i = 0; i < 9; ++i) {
        is_block = is_block && pixels[static_cast<std::size_t>((y + i / 3 - 1) * size + x + i % 3 - 1)] == 255;
      }
      if (is_block) found.push_back(y * size + x);
    }
  }
  return found;
}

TEST(Pathfinder, PathsWithoutGapsJoinTheDotsWhereTheLabelSaysSo) {
  for (const int size : {32, 64}) {
    const ImageBatch batch = batch_of(
        "pathfinder", fmt::format("{{size: {}, dashes: 5, dash: 4, gap: 0, mean: 0, deviation: 1}}", size), 200);
    int clear = 0;
    double bright[2] = {0, 0}, images[2] = {0, 0};
    for (std::int64_t row = 0; row < 200; ++row) {
      const std::vector<int> pixels = levels(batch, row);
      bright[label(batch, row)] += static_cast<double>(std::count(pixels.begin(), pixels.end(), 255));
      ++images[label(batch, row)];
      const std::vector<int> centres = dots(pixels, size);
      // A bend at an end may add a block or two beside a dot.
      ASSERT_GE(centres.size(), 2u) << row;
      clear += centres.size() == 2 ? 1 : 0;
      const std::vector<bool> seen = reached(pixels, size, centres.front());
      const bool is_joined = std::all_of(centres.begin(), centres.end(),
                                         [&seen](int centre) { return seen[static_cast<std::size_t>(centre)]; });
      EXPECT_EQ(is_joined, label(batch, row) == 1) << row;
    }
    EXPECT_GT(clear, 150);
    expect_even(batch, 2);
    // The number of bright pixels tells nothing: about 80, with a deviation of about 10, in 100 images of each label.
    EXPECT_NEAR((bright[1] / images[1]) / (bright[0] / images[0]), 1, 0.1);
  }
}

TEST(Pathfinder, WhatDoesNotFit) {
  const auto refusal = [](const std::string& yaml) {
    return message_of<ConfigError>([&] { build("pathfinder", yaml); });
  };
  EXPECT_THAT(refusal("{dashes: 20}"), AllOf(HasSubstr("80 pixels long"), HasSubstr("at most the size, 32")));
  // Straight paths as long as a side of 16 pixels cannot lie in it.
  EXPECT_THAT(
      message_of<DataError>([] { batch_of("pathfinder", "{size: 16, dashes: 4, dash: 4, gap: 0, turn: 0}", 50); }),
      HasSubstr("do not fit into 16 x 16"));
}

}  // namespace
}  // namespace rwkvlab
