// A backbone and a head that names what an image shows.
#pragma once

#include <string>
#include <vector>

#include "models/image_backbone.h"

namespace rwkvlab {

struct ImageClassifierParams : ImageBackboneParams {
  std::int64_t classes = 0;
  std::string pooling = "mean";
  std::string head = "linear";
  std::int64_t head_width = 0;
};

/// logits = head(pooled tokens): Linear, or Linear, tanh, Linear. Names are the official ones: backbone.*, head.fc.* or
/// head.0.*, head.2.*.
class ImageClassifier final : public ImageModel {
 public:
  /// Throws ConfigError for sizes that neither the parameters nor the data know.
  ImageClassifier(const ImageClassifierParams& params, const ModelSite& data);

  /// images: [batch, channels, height, width]; result [batch, classes]. Probes "backbone.layers.N.output" (the residual
  /// stream after each layer) among others.
  Var logits(const Var& images, const ForwardContext& context) const;
  const ImageBackbone& backbone() const { return *backbone_; }
  const ImageClassifierParams& params() const { return params_; }

  std::int64_t patches() const override { return backbone_->grid().tokens(); }
  const ImageBackbone* image_backbone() const override { return backbone_; }
  Var trial_pass(std::int64_t batch, const ForwardContext& context) const override;
  std::vector<std::string> recomputed_layers() const override { return backbone_->layers().recomputed_paths(); }
  double published_flops() const override;
  std::string summary() const override;

 private:
  ImageClassifierParams params_;
  ImageBackbone* backbone_;
  Linear *hidden_ = nullptr, *output_;
};

void describe(Fields<ImageClassifierParams>& f);

}  // namespace rwkvlab
