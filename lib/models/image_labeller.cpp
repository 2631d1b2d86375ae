#include "models/image_labeller.h"

#include <fmt/format.h>

#include "autograd/ops/image_losses.h"
#include "base/error.h"

namespace rwkvlab {

ImageLabeller::ImageLabeller(const char* kind, const ImageBackboneParams& params, std::int64_t classes,
                             const ModelSite& data)
    : kind_(kind) {
  image_ = resolve_image_site(params, classes, data);
  if (image_.classes <= 0)
    throw ConfigError("the number of classes is unknown: set model.classes, or name data that has labels");
  backbone_ = &child<ImageBackbone>("backbone", params, image_);
}

Var ImageLabeller::trial_pass(std::int64_t batch, const ForwardContext& context) const {
  const Tensor images = Tensor::empty({batch, image_.channels, image_.height, image_.width});
  const Var scores = logits(Var(images), context);
  return soft_cross_entropy(scores, Tensor::empty(scores.shape())).loss;
}

std::string ImageLabeller::summary() const {
  const ImageBackboneParams& params = backbone_->params();
  return fmt::format("{}, {} layers, width {}, {}, {} classes", kind_, params.layers, params.width,
                     image_size_text(image_, params.patch_size), image_.classes);
}

}  // namespace rwkvlab
