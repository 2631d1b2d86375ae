// A backbone and a head that names what an image shows.
#pragma once

#include <string>
#include <vector>

#include "models/image_labeller.h"

namespace rwkvlab {

struct ImageClassifierParams : ImageBackboneParams {
  std::int64_t classes = 0;
  std::string pooling = "mean";
  std::string head = "linear";
  std::int64_t head_width = 0;
};

/// logits = head(pooled tokens): Linear, or Linear, tanh, Linear. Names are the official ones: backbone.*, head.fc.* or
/// head.0.*, head.2.*.
class ImageClassifier final : public ImageLabeller {
 public:
  /// Throws ConfigError for sizes that neither the parameters nor the data know.
  ImageClassifier(const ImageClassifierParams& params, const ModelSite& data);

  /// [batch, classes].
  Var logits(const Var& images, const ForwardContext& context) const override;
  const ImageClassifierParams& params() const { return params_; }
  double published_flops() const override;

 private:
  ImageClassifierParams params_;
  Linear *hidden_ = nullptr, *output_;
};

void describe(Fields<ImageClassifierParams>& f);

}  // namespace rwkvlab
