// Random changes of training pictures: kinds of the slot "augmentation", one after the other in the order of the list.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/registry.h"
#include "data/image_data_set.h"
#include "data/images/chances.h"
#include "data/images/picture.h"
#include "data/images/resize.h"

namespace rwkvlab {

inline constexpr const char* augmentation_slot = "augmentation";

/// What a data set's pictures look like when they are done.
struct ImageForm {
  std::int64_t channels = 0, height = 0, width = 0, classes = 0;
  bool is_dense = false;
  std::vector<double> mean, deviation;  ///< one per channel: (value - mean) / deviation is what the model sees
};

/// Const and without hidden state: all chance comes from `Chances`.
class Augmentation {
 public:
  virtual ~Augmentation() = default;
  /// Why it cannot be used for such data; empty when it can.
  virtual std::string problem(const ImageForm&) const { return ""; }
  /// Whether it takes pictures of any size and gives those of the form's size.
  virtual bool gives_size() const { return false; }
  /// Changes a picture, of the form's size unless gives_size().
  virtual void apply(Picture&, const ImageForm&, Chances&) const {}
  /// Share of the batches that it mixes; 0 for what changes single pictures.
  virtual double mixed_share() const { return 0; }
  /// Mixes the pictures of a batch, whose soft_labels are given and adapted.
  virtual void mix(ImageBatch&, Chances&) const {}
};

/// Builds the list; throws ConfigError for what does not fit the form.
std::vector<std::shared_ptr<const Augmentation>> make_augmentations(const std::vector<Choice>& choices,
                                                                    const ImageForm& form);

// Parts that several kinds use.

/// value <- other + factor * (value - other), cut to [0, 1].
void blend(Picture& picture, const std::vector<float>& other, double factor);
/// Each a blend: with black, with the mean grey, with the grey version, with a smoothed version. 1 changes nothing.
void change_brightness(Picture& picture, double factor);
void change_contrast(Picture& picture, double factor);
void change_saturation(Picture& picture, double factor);
void change_sharpness(Picture& picture, double factor);

/// Pixel (x, y) of the result, measured from the centre, is (m[0] x + m[1] y + m[2], m[3] x + m[4] y + m[5]) of the
/// picture, bilinear; `fill` has one value per channel for what lies outside.
Picture warped(const Picture& picture, const double (&m)[6], const std::vector<double>& fill);

}  // namespace rwkvlab
