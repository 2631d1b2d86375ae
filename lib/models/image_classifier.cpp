#include "models/image_classifier.h"

#include "autograd/ops/elementwise.h"
#include "models/image_backbone_fields.h"
#include "models/image_flops.h"

namespace rwkvlab {
namespace {

constexpr double head_deviation = 0.02;

const auto registered = image_model_kind<ImageClassifier, ImageClassifierParams>("image_classifier");

}  // namespace

void describe(Fields<ImageClassifierParams>& f) {
  using P = ImageClassifierParams;
  f.doc("Names what an image shows: patches, a stack of time and channel mixes over them, pooling and a head.");
  f.paper("arXiv:2403.02308");
  describe_backbone(f);
  f.add("classes", &P::classes, "number of classes; 0: as many as the data has", at_least(0));
  f.add("pooling", &P::pooling, "what the head sees",
        one_of({{"mean", "the mean of the tokens of the image"}, {"class_token", "the class token"}}));
  f.add("head", &P::head, "from there to the classes",
        one_of({{"linear", "a linear layer"}, {"mlp_tanh", "a linear layer, tanh, a linear layer"}}));
  f.add("head_width", &P::head_width, "mlp_tanh: channels between its layers; 0: three times the width", at_least(0))
      .unit("channels");
  f.check(
      [](const P& params) {
        return params.pooling == "class_token" && !params.class_token
                   ? "pooling is class_token, but the model has none: set class_token: true"
                   : "";
      },
      "pooling");
}

ImageClassifier::ImageClassifier(const ImageClassifierParams& params, const ModelSite& data)
    : ImageLabeller("image_classifier", params, params.classes, data), params_(params) {
  Module& head = child<Module>("head");
  const Initialiser initial = initialise::normal(head_deviation);
  if (params.head == "linear") {
    output_ = &head.child<Linear>("fc", params.width, image_.classes, initial, true);
  } else {
    const std::int64_t between = params.head_width > 0 ? params.head_width : 3 * params.width;
    hidden_ = &head.child<Linear>("0", params.width, between, initial, true);
    output_ = &head.child<Linear>("2", between, image_.classes, initial, true);
  }
}

Var ImageClassifier::logits(const Var& images, const ForwardContext& context) const {
  return in_module(*this, context, [&] {
    const ImageFeatures features = backbone_->forward(images, context);
    Var h = params_.pooling == "mean" ? mean_of_tokens(features.places(features.tokens))
                                      : features.class_token(features.tokens);
    if (hidden_ != nullptr) h = activation(Activation::tanh, hidden_->forward(h, context));
    return output_->forward(h, context);
  });
}

double ImageClassifier::published_flops() const {
  const double tokens = static_cast<double>(patches());
  const double pooled = params_.pooling == "mean" ? tokens * static_cast<double>(params_.width) : 0;
  double head = published_flops_of(*output_, 1);
  if (hidden_ != nullptr) head += published_flops_of(*hidden_, 1);
  const double backbone = published_flops_of(*backbone_, tokens);
  return backbone > 0 ? backbone + pooled + head : 0;
}

}  // namespace rwkvlab
