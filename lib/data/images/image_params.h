// What the YAML of all image data has in common.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/base_members.h"
#include "config/fields.h"
#include "data/images/image_set.h"

namespace rwkvlab {

/// Base of the parameters of every kind of image data.
struct ImageParams {
  std::vector<double> mean{0.5}, deviation{0.5};
  std::vector<Choice> augment;
  std::string order = "shuffled";
  std::optional<std::uint64_t> seed;
  bool background = true;
};

/// Base of the parameters of those that come from files.
struct FileImageParams : ImageParams {
  std::vector<std::int64_t> size;
  std::string colour = "as_stored";
  double crop_share = 1;
  std::string interpolation = "bicubic";
  bool skip_corrupt = false;
};

/// Base of the parameters of those that are made.
struct GeneratedImageParams : ImageParams {
  std::int64_t images = 10000, held_out_images = 1000;
};

template <class P>
void describe_images(Fields<P>& f) {
  f.add("mean", own<P>(&ImageParams::mean),
        "the model sees (value - mean) / deviation, values being 0 to 1: one mean for all channels, or one each",
        between(-10, 10))
      .or_one()
      .not_empty();
  f.add("deviation", own<P>(&ImageParams::deviation), "see mean", above(0) && at_most(10)).or_one().not_empty();
  f.kinds("augment", own<P>(&ImageParams::augment), augmentation_slot,
          "random changes of the training images, one after the other");
  f.add("seed", own<P>(&ImageParams::seed),
        "seed of order, augmentation and generated images; left out: that of the "
        "experiment");
  f.add("background", own<P>(&ImageParams::background), "make the next batch while the trainer computes");
}

template <class P>
void describe_file_images(Fields<P>& f) {
  f.add(
       "size", own<P>(&FileImageParams::size),
       "pixels of a side, or [height, width]: larger and smaller images are scaled until they cover it, and the centre "
       "is cut out; left out: as stored",
       between(1, 8192))
      .or_one()
      .unit("pixels");
  f.add("crop_share", own<P>(&FileImageParams::crop_share),
        "share of the scaled side that the centre cut keeps; 0.875 is 256 -> 224 pixels", above(0) && at_most(1));
  f.add("interpolation", own<P>(&FileImageParams::interpolation), "how images are scaled, with antialiasing",
        one_of({"bicubic", "bilinear"}));
  f.add("colour", own<P>(&FileImageParams::colour), "channels of the images",
        one_of({{"as_stored", "those of the first image; images that differ are an error"},
                {"rgb", "three; grey ones are repeated"},
                {"grey", "one: 0.299 R + 0.587 G + 0.114 B"}}));
  f.add("skip_corrupt", own<P>(&FileImageParams::skip_corrupt),
        "leave out damaged images and count them, instead of stopping; image files are all decoded once at the start");
  f.add("order", own<P>(&ImageParams::order), "how the training images come",
        one_of({{"shuffled", "every epoch in an order of its own"}, {"in_turn", "as they are stored"}}));
  describe_images(f);
  f.check(
      [](const P& p) {
        return p.size.size() <= 2 ? "" : fmt::format("size has {} numbers, expected one or two", p.size.size());
      },
      "size");
}

template <class P>
void describe_generated_images(Fields<P>& f) {
  f.add("images", own<P>(&GeneratedImageParams::images), "number of training images", between(1, 1e9));
  f.add("held_out_images", own<P>(&GeneratedImageParams::held_out_images), "number of held-out images",
        between(0, 1e9));
  f.add("order", own<P>(&ImageParams::order), "how the training images come",
        one_of({{"shuffled", "every epoch in an order of its own"},
                {"in_turn", "always in the same order"},
                {"fresh", "ever new images; `images` does not count"}}));
  describe_images(f);
}

/// Fills in what follows from the common parameters (form.channels, height, width, classes and is_dense are given), and
/// builds the data set. Throws ConfigError for what does not fit together.
std::unique_ptr<DataSet> make_image_set(const ImageParams& p, std::uint64_t seed, ImageSetParts parts);
/// The same for files: training images of `reading`'s size (0: that of the first image).
std::unique_ptr<DataSet> make_file_set(const FileImageParams& p, std::uint64_t seed, const LoadedPictures& training,
                                       const std::optional<LoadedPictures>& held_out, ImageSetParts parts);

}  // namespace rwkvlab
