// What all models of images have in common: what the program needs to build, describe and train any of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/model_site.h"
#include "nn/module.h"

namespace rwkvlab {

class ImageBackbone;

/// A model that reads images [batch, channels, height, width].
class ImageModel : public Module {
 public:
  /// The size of images that the model is built for; others are read too where the position embedding can be resized.
  const ModelSite& image() const { return image_; }
  /// Number of patches that such an image is cut into.
  virtual std::int64_t patches() const = 0;
  /// One pass of a training over images of that size, to a scalar; the batch is undefined and so is the value. For
  /// passes without memory: describe, the list of probes, checks.
  virtual Var trial_pass(std::int64_t batch, const ForwardContext& context) const = 0;
  /// The backbone, where the model has one whose middle can be asked what it sees; else null.
  virtual const ImageBackbone* image_backbone() const { return nullptr; }
  /// Paths of the layers whose values a training computes again in the backward pass.
  virtual std::vector<std::string> recomputed_layers() const = 0;
  /// Multiply-adds of a forward pass of one image, as Vision-RWKV's repository counts them (arXiv:2403.02308, table 1):
  /// matrix products, 2 per normalised value, 1 per pooled one, and what the token mixes need between the products. 0
  /// for mixers that it does not count.
  virtual double published_flops() const { return 0; }

 protected:
  ModelSite image_;
};

/// "32 x 30 pixels (padded to 32 x 32) of 3 channels": what a model reads, and what patches of this side make of it.
std::string image_size_text(const ModelSite& image, std::int64_t patch_size);

/// The kind of objective that goes with a kind of model of images; empty for other models.
std::string objective_of_model(const std::string& model_kind);

}  // namespace rwkvlab
