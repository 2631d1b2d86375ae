// Flip, crops, colour jitter and random erasing.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/images/augmentation.h"

namespace rwkvlab {
namespace {

struct FlipParams {
  double probability = 0.5;
};

void describe_flip(Fields<FlipParams>& f) {
  f.doc("Left and right exchanged.");
  f.add("probability", &FlipParams::probability, "share of the pictures that are flipped", between(0, 1));
}

class HorizontalFlip final : public Augmentation {
 public:
  explicit HorizontalFlip(const FlipParams& p) : p_(p) {}
  void apply(Picture& picture, const ImageForm&, Chances& chances) const override {
    if (chances.happens(p_.probability)) flip_horizontally(picture);
  }

 private:
  FlipParams p_;
};

struct CropParams {
  std::int64_t padding = 4;
};

void describe_crop(Fields<CropParams>& f) {
  f.doc("Moved by up to `padding` pixels in each direction; black comes in from outside (of dense data: no class).");
  f.add("padding", &CropParams::padding, "largest shift", between(1, 1024)).unit("pixels");
}

class RandomCrop final : public Augmentation {
 public:
  explicit RandomCrop(const CropParams& p) : p_(p) {}
  void apply(Picture& picture, const ImageForm&, Chances& chances) const override {
    const std::int64_t top = chances.below(2 * p_.padding + 1) - p_.padding;
    const std::int64_t left = chances.below(2 * p_.padding + 1) - p_.padding;
    picture = cropped(picture, top, left, picture.height, picture.width);
  }

 private:
  CropParams p_;
};

struct ResizedCropParams {
  double smallest_area = 0.08;
  double largest_area = 1;
  double widest = 4.0 / 3;
  std::string interpolation = "bicubic";
};

void describe_resized_crop(Fields<ResizedCropParams>& f) {
  f.doc(
      "A random rectangle of the picture as it is stored, scaled to the size of the data: area uniform, logarithm of "
      "the aspect ratio uniform. After ten rectangles that do not fit, the largest one in the centre is taken.");
  f.paper("arXiv:1409.4842");
  const auto share = above(0) && at_most(1);
  f.add("smallest_area", &ResizedCropParams::smallest_area, "share of the picture's area, at least", share);
  f.add("largest_area", &ResizedCropParams::largest_area, "share of the picture's area, at most", share);
  f.add("widest", &ResizedCropParams::widest, "largest width / height, and height / width", between(1, 100));
  f.add("interpolation", &ResizedCropParams::interpolation, "how it is scaled", one_of({"bicubic", "bilinear"}));
  f.check(
      [](const ResizedCropParams& p) {
        return p.smallest_area <= p.largest_area ? "" : std::string("smallest_area is above largest_area");
      },
      "smallest_area");
}

class RandomResizedCrop final : public Augmentation {
 public:
  explicit RandomResizedCrop(const ResizedCropParams& p)
      : p_(p), interpolation_(interpolation_named(p.interpolation)) {}
  bool gives_size() const override { return true; }
  void apply(Picture& picture, const ImageForm& form, Chances& chances) const override {
    const double area = static_cast<double>(picture.pixels());
    for (int attempt = 0; attempt < 10; ++attempt) {
      const double wanted = area * chances.between(p_.smallest_area, p_.largest_area);
      const double aspect = std::exp(std::log(p_.widest) * chances.between(-1, 1));
      const std::int64_t width = std::llround(std::sqrt(wanted * aspect)),
                         height = std::llround(std::sqrt(wanted / aspect));
      if (width < 1 || height < 1 || width > picture.width || height > picture.height) continue;
      const std::int64_t top = chances.below(picture.height - height + 1),
                         left = chances.below(picture.width - width + 1);
      picture = resized(cropped(picture, top, left, height, width), form.height, form.width, interpolation_);
      return;
    }
    take_centre(picture, form);
  }

 private:
  void take_centre(Picture& picture, const ImageForm& form) const {
    const auto limited = [this](std::int64_t side, std::int64_t other) {
      return std::clamp<std::int64_t>(std::llround(static_cast<double>(other) * p_.widest), 1, side);
    };
    const std::int64_t width = limited(picture.width, picture.height), height = limited(picture.height, picture.width);
    picture = resized(cropped(picture, (picture.height - height) / 2, (picture.width - width) / 2, height, width),
                      form.height, form.width, interpolation_);
  }

  ResizedCropParams p_;
  Interpolation interpolation_;
};

struct JitterParams {
  double brightness = 0.4, contrast = 0.4, saturation = 0.4;
};

void describe_jitter(Fields<JitterParams>& f) {
  f.doc("Brightness, contrast and saturation, each times a factor drawn uniformly around 1.");
  f.add("brightness", &JitterParams::brightness, "largest distance of the factor from 1", between(0, 1));
  f.add("contrast", &JitterParams::contrast, "largest distance of the factor from 1", between(0, 1));
  f.add("saturation", &JitterParams::saturation, "largest distance of the factor from 1; nothing for grey pictures",
        between(0, 1));
}

class ColourJitter final : public Augmentation {
 public:
  explicit ColourJitter(const JitterParams& p) : p_(p) {}
  void apply(Picture& picture, const ImageForm&, Chances& chances) const override {
    change_brightness(picture, 1 + p_.brightness * chances.between(-1, 1));
    change_contrast(picture, 1 + p_.contrast * chances.between(-1, 1));
    const double factor = 1 + p_.saturation * chances.between(-1, 1);
    if (picture.channels == 3) change_saturation(picture, factor);
  }

 private:
  JitterParams p_;
};

struct ErasingParams {
  double probability = 0.25, smallest_area = 0.02, largest_area = 1.0 / 3, widest = 10.0 / 3;
  std::string fill = "noise";
};

void describe_erasing(Fields<ErasingParams>& f) {
  f.doc("Random erasing: a rectangle loses its content. Labels of pixels stay.");
  f.paper("arXiv:1708.04896");
  const auto share = above(0) && at_most(1);
  f.add("probability", &ErasingParams::probability, "share of the pictures", between(0, 1));
  f.add("smallest_area", &ErasingParams::smallest_area, "share of the picture's area, at least", share);
  f.add("largest_area", &ErasingParams::largest_area, "share of the picture's area, at most", share);
  f.add("widest", &ErasingParams::widest, "largest width / height, and height / width", between(1, 100));
  f.add("fill", &ErasingParams::fill, "what comes in its place",
        one_of({{"noise", "normal noise with the mean and deviation of the data"}, {"mean", "the mean of the data"}}));
  f.check(
      [](const ErasingParams& p) {
        return p.smallest_area <= p.largest_area ? "" : std::string("smallest_area is above largest_area");
      },
      "smallest_area");
}

class RandomErasing final : public Augmentation {
 public:
  explicit RandomErasing(const ErasingParams& p) : p_(p) {}
  void apply(Picture& picture, const ImageForm& form, Chances& chances) const override {
    if (!chances.happens(p_.probability)) return;
    for (int attempt = 0; attempt < 10; ++attempt) {
      const double area = static_cast<double>(picture.pixels()) * chances.between(p_.smallest_area, p_.largest_area);
      const double aspect = std::exp(std::log(p_.widest) * chances.between(-1, 1));
      const std::int64_t width = std::llround(std::sqrt(area * aspect)),
                         height = std::llround(std::sqrt(area / aspect));
      if (width < 1 || height < 1 || width > picture.width || height > picture.height) continue;
      erase(picture, form, chances, height, width);
      return;
    }
  }

 private:
  // Noise may leave [0, 1], as that of the published recipe does.
  void erase(Picture& picture, const ImageForm& form, Chances& chances, std::int64_t height, std::int64_t width) const {
    const std::int64_t top = chances.below(picture.height - height + 1),
                       left = chances.below(picture.width - width + 1);
    for (std::int64_t channel = 0; channel < picture.channels; ++channel) {
      const std::span<float> plane = picture.plane(channel);
      const double mean = form.mean[static_cast<std::size_t>(channel)],
                   deviation = form.deviation[static_cast<std::size_t>(channel)];
      for (std::int64_t y = top; y < top + height; ++y) {
        for (std::int64_t x = left; x < left + width; ++x) {
          const double noise = p_.fill == "noise" ? deviation * chances.normal() : 0;
          plane[static_cast<std::size_t>(y * picture.width + x)] = static_cast<float>(mean + noise);
        }
      }
    }
  }

  ErasingParams p_;
};

template <class Kind, class Params>
std::unique_ptr<Augmentation> make(const Params& p) {
  return std::make_unique<Kind>(p);
}

const RegisterSlot slot(augmentation_slot, "A random change of the training pictures.");
const RegisterKind<Augmentation, FlipParams> flip(augmentation_slot, "horizontal_flip", describe_flip,
                                                  make<HorizontalFlip, FlipParams>);
const RegisterKind<Augmentation, CropParams> crop(augmentation_slot, "random_crop", describe_crop,
                                                  make<RandomCrop, CropParams>);
const RegisterKind<Augmentation, ResizedCropParams> resized_crop(augmentation_slot, "random_resized_crop",
                                                                 describe_resized_crop,
                                                                 make<RandomResizedCrop, ResizedCropParams>);
const RegisterKind<Augmentation, JitterParams> jitter(augmentation_slot, "colour_jitter", describe_jitter,
                                                      make<ColourJitter, JitterParams>);
const RegisterKind<Augmentation, ErasingParams> erasing(augmentation_slot, "random_erasing", describe_erasing,
                                                        make<RandomErasing, ErasingParams>);

}  // namespace

std::vector<std::shared_ptr<const Augmentation>> make_augmentations(const std::vector<Choice>& choices,
                                                                    const ImageForm& form) {
  std::vector<std::shared_ptr<const Augmentation>> list;
  double mixed = 0;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    list.push_back(build_kind<Augmentation>(augmentation_slot, choices[i]));
    const std::string problem = list.back()->problem(form);
    if (!problem.empty()) throw ConfigError(fmt::format("augment.{} ({}): {}", i, choices[i].kind, problem));
    mixed += list.back()->mixed_share();
  }
  if (mixed > 1 + 1e-9) {
    throw ConfigError(
        fmt::format("augment: the probabilities of mixup and cutmix add up to {}, expected at most 1, as a batch is "
                    "mixed in one way",
                    mixed));
  }
  return list;
}

}  // namespace rwkvlab
