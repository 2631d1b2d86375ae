// Masked autoencoder: most patches of an image are hidden and predicted from the others (arXiv:2111.06377), in the form
// that Vision-RWKV was pre-trained in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "autograd/ops/image_losses.h"
#include "models/image_backbone.h"

namespace rwkvlab {

struct MaskedAutoencoderParams : ImageLayerParams, ImageSizeParams {
  int decoder_layers = 8;
  std::int64_t decoder_width = 512;
  double mask_ratio = 0.75;
  bool normalised_pixels = true;
};

/// What the model says of the hidden patches.
struct MaskedPrediction {
  Var prediction;  ///< [batch, patches, patch · patch · channels]: rows, then columns of a patch, then its channels
  Tensor mask;     ///< [batch, patches]: 1 where the patch was hidden
  RowLoss error;   ///< mean squared error of a patch, averaged over the hidden ones
};

/// x = patches W + b + 2 positions (the published code adds them twice); the first ⌊(1 - ratio) patches⌋ patches in the
/// order of their noise, read in that order, pass the encoder's layers and LN; then a linear map, mask tokens at the
/// places of the others, positions, the decoder's layers, LN and a linear map to the pixels. Names are the official
/// ones: blocks.N, ln1, decoder_embed, mask_token, decoder_pos_embed, decoder_blocks.N, ln2, decoder_pred.
class MaskedAutoencoder final : public ImageModel {
 public:
  /// Throws ConfigError for sizes that neither the parameters nor the data know, and for mixes that need a grid: the
  /// patches that are left have none.
  MaskedAutoencoder(const MaskedAutoencoderParams& params, const ModelSite& data);

  /// images: [batch, channels, height, width]; noise: [batch, patches], any numbers: those with the smallest are seen.
  /// With normalised_pixels, the target of a patch is (x - mean) / sqrt(variance + 1e-6), with the unbiased variance.
  MaskedPrediction forward(const Var& images, const Tensor& noise, const ForwardContext& context) const;

  std::int64_t patches() const override { return grid_.tokens(); }
  Var trial_pass(std::int64_t batch, const ForwardContext& context) const override;
  std::vector<std::string> recomputed_layers() const override;
  std::string summary() const override;

 private:
  Var encode(const Var& images, const GridSize& grid, const Tensor& seen, const ForwardContext& context) const;
  Var decode(const Var& encoded, const GridSize& grid, const Tensor& places, const ForwardContext& context) const;
  Var target(const Var& images) const;

  MaskedAutoencoderParams params_;
  PatchProjection* projection_;
  GridSize grid_;
  Parameter *positions_, *mask_token_, *decoder_positions_;
  std::unique_ptr<ImageLayers> encoder_, decoder_;
  LayerNorm *encoder_norm_, *decoder_norm_;
  Linear *decoder_embed_, *prediction_;
};

void describe(Fields<MaskedAutoencoderParams>& f);

}  // namespace rwkvlab
