// A backbone and a light head that names every pixel of an image.
#pragma once

#include <vector>

#include "models/image_labeller.h"

namespace rwkvlab {

struct ImageSegmenterParams : ImageBackboneParams {
  std::int64_t classes = 0;
  std::vector<int> stages;
};

/// logits = Σ_stages resize(W_s tokens_s) + b: a 1 x 1 convolution of the feature maps of some layers, side by side,
/// resized bilinearly to the image. The head is a linear map, so its results are resized rather than its inputs.
class ImageSegmenter final : public ImageLabeller {
 public:
  /// Throws ConfigError for sizes that neither the parameters nor the data know, and for layers that there are not.
  ImageSegmenter(const ImageSegmenterParams& params, const ModelSite& data);

  /// [batch, height · width, classes].
  Var logits(const Var& images, const ForwardContext& context) const override;

 private:
  ImageSegmenterParams params_;
  std::vector<int> stages_;
  std::vector<Linear*> heads_;
};

void describe(Fields<ImageSegmenterParams>& f);

}  // namespace rwkvlab
