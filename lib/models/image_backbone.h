// Patches, positions and layers: what image classifiers and segmenters have in common.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "autograd/ops/image_tokens.h"
#include "models/image_layers.h"
#include "models/image_model.h"

namespace rwkvlab {

/// Which images a model reads. 0: as the data has.
struct ImageSizeParams {
  std::int64_t channels = 0;
  std::int64_t image_height = 0;
  std::int64_t image_width = 0;
  std::int64_t patch_size = 16;
};

struct ImageBackboneParams : ImageLayerParams, ImageSizeParams {
  std::string positions = "learned";
  std::string position_resize = "bicubic";
  std::int64_t position_height = 0;  ///< pixels; 0: as the image
  std::int64_t position_width = 0;
  double position_deviation = 0;
  bool class_token = false;
  double dropout = 0;
  bool final_norm = true;
};

/// The sizes that the parameters give, or else those of the data. Throws ConfigError where neither does, or where the
/// data has another number of channels or more classes than `classes`.
ModelSite resolve_image_site(const ImageSizeParams& params, std::int64_t classes, const ModelSite& data);

/// The numbers of layers counted from 0, or from the end where negative, in their order. Throws ConfigError for layers
/// that there are not.
std::vector<int> resolve_stages(const std::vector<int>& stages, int layers);

/// tokens = W patches(image) + b: a convolution whose stride is its size, as a matrix product. Parameters `weight`
/// [width, channels, patch, patch] and `bias`.
class PatchProjection final : public Module {
 public:
  PatchProjection(std::int64_t channels, std::int64_t patch, std::int64_t width);
  /// images: [batch, channels, height, width]; result [batch, patches, width].
  Var forward(const Var& images, const ForwardContext& context) const;
  /// The patches of an image of this size.
  GridSize grid(std::int64_t height, std::int64_t width) const;
  std::string summary() const override;

 private:
  std::int64_t channels_, patch_, width_;
  Parameter &weight_, &bias_;
};

/// What a backbone makes of images.
struct ImageFeatures {
  TokenGrid grid;
  Var tokens;               ///< [batch, tokens, width] after the last layer and the final norm
  std::vector<Var> stages;  ///< the same after each layer that was asked for, in the order of the layers

  /// Tokens that have a place in the image, [batch, rows · columns, width].
  Var places(const Var& all) const { return token_range(all, 0, grid.rows * grid.columns); }
  /// The class token, [batch, width].
  Var class_token(const Var& all) const;
};

/// x = patches W + b + positions, then a class token at the end, then the layers and LN(x). Learned positions of
/// another grid are resized to that of the image; sines are those of its own grid. Names are the official ones:
/// patch_embed.projection, pos_embed, cls_token, layers.N, ln1.
class ImageBackbone final : public Module {
 public:
  ImageBackbone(const ImageBackboneParams& params, const ModelSite& image);

  /// images: [batch, channels, height, width] of any size. `stages`: layers whose outputs are wanted, counted from 0,
  /// or from the end where negative. Only what the last layer leaves is normalised. Throws ShapeError for other
  /// channels.
  ImageFeatures forward(const Var& images, const ForwardContext& context, const std::vector<int>& stages = {}) const;

  /// The patches of images of the model's own size.
  GridSize grid() const { return grid_; }
  /// Those that positions are learned for.
  GridSize position_grid() const { return stored_grid_; }
  const ImageBackboneParams& params() const { return params_; }
  const ImageLayers& layers() const { return *layers_; }
  std::string summary() const override;

 private:
  Var embed(const Var& images, const GridSize& grid, const ForwardContext& context) const;

  ImageBackboneParams params_;
  PatchProjection* projection_;
  GridSize grid_, stored_grid_;  // of images, of the positions
  Parameter *positions_ = nullptr, *class_token_ = nullptr;
  Dropout* dropout_;
  std::unique_ptr<ImageLayers> layers_;
  LayerNorm* final_norm_ = nullptr;
};

}  // namespace rwkvlab
