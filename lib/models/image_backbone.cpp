#include "models/image_backbone.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops/broadcast.h"
#include "autograd/ops/causal_attention.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/positions.h"
#include "base/error.h"
#include "models/sine_positions.h"

namespace rwkvlab {
namespace {

std::int64_t size_of(const char* key, std::int64_t given, std::int64_t data) {
  const std::int64_t size = given > 0 ? given : data;
  if (size <= 0) throw ConfigError(fmt::format("model.{} is unknown: set it, or name data made of images", key));
  return size;
}

}  // namespace

std::vector<int> resolve_stages(const std::vector<int>& stages, int layers) {
  std::vector<int> result;
  for (const int stage : stages) {
    const int layer = stage < 0 ? layers + stage : stage;
    if (layer < 0 || layer >= layers)
      throw ConfigError(fmt::format("layer {} was asked for, but the model has layers 0 to {}", stage, layers - 1));
    result.push_back(layer);
  }
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

ModelSite resolve_image_site(const ImageSizeParams& params, std::int64_t classes, const ModelSite& data) {
  ModelSite site;
  site.channels = size_of("channels", params.channels, data.channels);
  site.height = size_of("image_height", params.image_height, data.height);
  site.width = size_of("image_width", params.image_width, data.width);
  site.classes = classes > 0 ? classes : data.classes;
  if (data.channels > 0 && data.channels != site.channels)
    throw ConfigError(
        fmt::format("model.channels is {}, but the images of the data have {}", site.channels, data.channels));
  if (data.classes > site.classes)
    throw ConfigError(fmt::format("model.classes is {}, but the data has {} classes", site.classes, data.classes));
  return site;
}

PatchProjection::PatchProjection(std::int64_t channels, std::int64_t patch, std::int64_t width)
    : channels_(channels),
      patch_(patch),
      width_(width),
      weight_(parameter("weight", {width, channels, patch, patch},
                        initialise::uniform(-1 / std::sqrt(static_cast<double>(channels * patch * patch)),
                                            1 / std::sqrt(static_cast<double>(channels * patch * patch))),
                        matrix_rules())),
      bias_(parameter("bias", {width},
                      initialise::uniform(-1 / std::sqrt(static_cast<double>(channels * patch * patch)),
                                          1 / std::sqrt(static_cast<double>(channels * patch * patch))))) {}

GridSize PatchProjection::grid(std::int64_t height, std::int64_t width) const {
  return {(height + patch_ - 1) / patch_, (width + patch_ - 1) / patch_};
}

Var PatchProjection::forward(const Var& images, const ForwardContext& context) const {
  return in_module(*this, context, [&] {
    if (images.shape().rank() != 4 || images.shape()[1] != channels_) {
      throw ShapeError(fmt::format("found images of shape {}; this model reads [batch, {}, height, width]",
                                   images.shape().text(), channels_));
    }
    const Var patches = image_patches(images, patch_);
    Var y = linear(patches, reshape(weight_.var, {width_, patches.shape()[2]}), bias_.var);
    probe(context, "output", y);
    return y;
  });
}

std::string PatchProjection::summary() const {
  return fmt::format("{} x {} pixels of {} channels -> {}", patch_, patch_, channels_, width_);
}

Var ImageFeatures::class_token(const Var& all) const {
  return reshape(token_range(all, grid.rows * grid.columns, grid.tokens()), {all.shape()[0], all.shape()[2]});
}

ImageBackbone::ImageBackbone(const ImageBackboneParams& params, const ModelSite& image) : params_(params) {
  Module& patches = child<Module>("patch_embed");
  projection_ = &patches.child<PatchProjection>("projection", image.channels, params.patch_size, params.width);
  grid_ = projection_->grid(image.height, image.width);
  stored_grid_ = projection_->grid(params.position_height > 0 ? params.position_height : image.height,
                                   params.position_width > 0 ? params.position_width : image.width);
  const Initialiser initial =
      params.position_deviation > 0 ? initialise::normal(params.position_deviation) : initialise::constant(0);
  if (params.positions == "learned")
    positions_ = &parameter("pos_embed", {1, stored_grid_.tokens(), params.width}, initial, matrix_rules());
  if (params.class_token) class_token_ = &parameter("cls_token", {1, 1, params.width}, initial, matrix_rules());
  dropout_ = &child<Dropout>("drop_after_pos", params.dropout);
  layers_ = std::make_unique<ImageLayers>(*this, "layers", params);
  if (params.final_norm) final_norm_ = &child<LayerNorm>("ln1", params.width, params.layer_norm_epsilon);
}

Var ImageBackbone::embed(const Var& images, const GridSize& grid, const ForwardContext& context) const {
  Var x = projection_->forward(images, context);
  if (positions_ != nullptr) {
    const Var resized = resize_grid(positions_->var, stored_grid_, grid, params_.position_resize);
    x = add_positions(x, reshape(resized, {grid.tokens(), params_.width}), 0);
  } else if (params_.positions == "sine") {
    x = add_positions(x, Var(sine_positions(grid, params_.width, x.dtype())), 0);
  }
  if (class_token_ != nullptr) {
    const std::int64_t batch = images.shape()[0];
    const Var tokens = for_every_sequence(reshape(class_token_->var, {1, params_.width}), batch);
    x = append_tokens(x, tokens);
  }
  return dropout_->forward(x, context);
}

ImageFeatures ImageBackbone::forward(const Var& images, const ForwardContext& context,
                                     const std::vector<int>& stages) const {
  ImageFeatures features;
  const std::vector<int> wanted = resolve_stages(stages, params_.layers);
  features.tokens = in_module(*this, context, [&] {
    if (images.shape().rank() != 4) throw ShapeError("expected images [batch, channels, height, width]");
    const GridSize grid = projection_->grid(images.shape()[2], images.shape()[3]);
    features.grid = {grid.rows, grid.columns, class_token_ != nullptr ? 1 : 0};
    std::function<void(int, const Var&)> keep;
    if (!wanted.empty()) {
      keep = [&](int layer, const Var& x) {
        if (layer + 1 < params_.layers && std::binary_search(wanted.begin(), wanted.end(), layer))
          features.stages.push_back(x);
      };
    }
    const Var x = layers_->forward(embed(images, grid, context), features.grid, context, keep);
    return final_norm_ != nullptr ? final_norm_->forward(x, context) : x;
  });
  if (!wanted.empty() && wanted.back() == params_.layers - 1) features.stages.push_back(features.tokens);
  return features;
}

std::string ImageBackbone::summary() const {
  return fmt::format("{} layers, width {}, {} x {} patches", params_.layers, params_.width, grid_.rows, grid_.columns);
}

}  // namespace rwkvlab
