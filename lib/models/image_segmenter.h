// A backbone and a light head that names every pixel of an image.
#pragma once

#include <string>
#include <vector>

#include "models/image_backbone.h"

namespace rwkvlab {

struct ImageSegmenterParams : ImageBackboneParams {
  std::int64_t classes = 0;
  std::vector<int> stages;
};

/// logits = Σ_stages resize(W_s tokens_s) + b: a 1 x 1 convolution of the feature maps of some layers, side by side,
/// resized bilinearly to the image. The head is a linear map, so its results are resized rather than its inputs.
class ImageSegmenter final : public ImageModel {
 public:
  /// Throws ConfigError for sizes that neither the parameters nor the data know, and for layers that there are not.
  ImageSegmenter(const ImageSegmenterParams& params, const ModelSite& data);

  /// images: [batch, channels, height, width]; result [batch, height · width, classes].
  Var logits(const Var& images, const ForwardContext& context) const;

  std::int64_t patches() const override { return backbone_->grid().tokens(); }
  const ImageBackbone* image_backbone() const override { return backbone_; }
  Var trial_pass(std::int64_t batch, const ForwardContext& context) const override;
  std::vector<std::string> recomputed_layers() const override { return backbone_->layers().recomputed_paths(); }
  std::string summary() const override;

 private:
  ImageSegmenterParams params_;
  ImageBackbone* backbone_;
  std::vector<int> stages_;
  std::vector<Linear*> heads_;
};

void describe(Fields<ImageSegmenterParams>& f);

}  // namespace rwkvlab
