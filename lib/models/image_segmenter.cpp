#include "models/image_segmenter.h"

#include "autograd/ops/elementwise.h"
#include "models/image_backbone_fields.h"

namespace rwkvlab {
namespace {

constexpr double head_deviation = 0.02;

const auto registered = image_model_kind<ImageSegmenter, ImageSegmenterParams>("image_segmenter");

}  // namespace

void describe(Fields<ImageSegmenterParams>& f) {
  using P = ImageSegmenterParams;
  f.doc(
      "Names every pixel of an image: patches, a stack of time and channel mixes over them, and a 1 x 1 convolution of "
      "the feature maps of some layers, resized to the image.");
  f.paper("arXiv:2403.02308");
  describe_backbone(f);
  f.add("classes", &P::classes, "number of classes; 0: as many as the data has", at_least(0));
  f.add("stages", &P::stages,
        "layers whose feature maps the head sees, counted from 0, or from the end where negative; empty: the last");
}

ImageSegmenter::ImageSegmenter(const ImageSegmenterParams& params, const ModelSite& data)
    : ImageLabeller("image_segmenter", params, params.classes, data), params_(params) {
  stages_ = resolve_stages(params.stages.empty() ? std::vector<int>{-1} : params.stages, params.layers);
  Module& head = child<Module>("head");
  for (const int stage : stages_) {
    const bool is_first = heads_.empty();
    heads_.push_back(&head.child<Linear>(std::to_string(stage), params.width, image_.classes,
                                         initialise::normal(head_deviation), is_first));
  }
}

Var ImageSegmenter::logits(const Var& images, const ForwardContext& context) const {
  return in_module(*this, context, [&] {
    const ImageFeatures features = backbone_->forward(images, context, stages_);
    Var scores;
    for (std::size_t i = 0; i < heads_.size(); ++i) {
      const Var of_stage = heads_[i]->forward(features.places(features.stages[i]), context);
      scores = scores.defined() ? add(scores, of_stage) : of_stage;
    }
    const GridSize grid = {features.grid.rows, features.grid.columns};
    const GridSize padded = {grid.rows * params_.patch_size, grid.columns * params_.patch_size};
    return resize_grid(scores, grid, {images.shape()[2], images.shape()[3]}, "bilinear", padded);
  });
}

}  // namespace rwkvlab
