// What models have in common that name what an image shows, as a whole or in each of its pixels.
#pragma once

#include <string>
#include <vector>

#include "models/image_backbone.h"

namespace rwkvlab {

/// A backbone, named "backbone", and a head that gives logits.
class ImageLabeller : public ImageModel {
 public:
  /// images: [batch, channels, height, width]; result [batch, classes], or [batch, height · width, classes]. Probes
  /// "backbone.layers.N.output" (the residual stream after each layer) among others.
  virtual Var logits(const Var& images, const ForwardContext& context) const = 0;
  const ImageBackbone& backbone() const { return *backbone_; }

  std::int64_t patches() const final { return backbone_->grid().tokens(); }
  const ImageBackbone* image_backbone() const final { return backbone_; }
  Var trial_pass(std::int64_t batch, const ForwardContext& context) const final;
  std::vector<std::string> recomputed_layers() const final { return backbone_->layers().recomputed_paths(); }
  std::string summary() const final;

 protected:
  /// `kind`: its name in YAML. Throws ConfigError for sizes or a number of classes that neither the parameters nor the
  /// data know.
  ImageLabeller(const char* kind, const ImageBackboneParams& params, std::int64_t classes, const ModelSite& data);

  ImageBackbone* backbone_;

 private:
  const char* kind_;
};

}  // namespace rwkvlab
