// What models of images are trained to do: name an image, name its pixels, predict its hidden patches.
#pragma once

#include "train/objective.h"

namespace rwkvlab {

/// Kind `image_classification` of the slot "objective".
struct ImageClassificationParams {
  double label_smoothing = 0.1;  ///< weight of all classes alike in the targets of a training (arXiv:1512.00567)
};

/// Kinds `segmentation` and `masked_autoencoding`.
struct SegmentationParams {};
struct MaskedAutoencodingParams {};

/// Throw ConfigError when model or data are of another sort.
std::unique_ptr<Objective> make_image_classification(const ImageClassificationParams& params,
                                                     const ObjectiveSite& site);
std::unique_ptr<Objective> make_segmentation(const SegmentationParams& params, const ObjectiveSite& site);
std::unique_ptr<Objective> make_masked_autoencoding(const MaskedAutoencodingParams& params, const ObjectiveSite& site);

}  // namespace rwkvlab
