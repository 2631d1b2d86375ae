// The encoder of a masked autoencoder as the backbone of a classifier or a segmenter.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/image_backbone.h"
#include "tensor/tensor_file.h"

namespace rwkvlab {

/// Whether a model has a backbone whose weights a masked autoencoder can learn before.
bool has_image_backbone(const Module& model);

/// Whether a file holds a masked autoencoder, of this program or under the published names.
bool holds_masked_autoencoder(const TensorFile& file);

/// A parameter of a backbone and what it is called in the autoencoder.
struct EncoderTensor {
  const Parameter* parameter;
  std::string name;
};

/// What a model takes from an autoencoder.
struct EncoderMatch {
  std::vector<EncoderTensor> taken;
  std::vector<std::string> fresh;       ///< parameters that the autoencoder has not: a head, a class token
  std::optional<GridSize> positions{};  ///< grid of the autoencoder's positions where the model's is another
};

/// Compares names and shapes: `backbone.layers.N` is `blocks.N`, the decoder stays behind. Learned positions may be
/// those of a larger or smaller image of the same proportions. The model need not have memory. Throws DataError listing
/// what does not fit.
EncoderMatch match_encoder(const Module& model, const TensorFile& file);

/// Overwrites the backbone of an allocated model. Positions are doubled, as the autoencoder adds them twice, and
/// resized as the model resizes them (`position_resize`). Returns a sentence that says which tensors came over and
/// which keep their initial values. Throws DataError as match_encoder does, and for weights that are not finite.
std::string load_encoder(const Module& model, const TensorFile& file);

}  // namespace rwkvlab
