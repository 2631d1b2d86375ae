#include "models/masked_autoencoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/ops/causal_attention.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/ops/positions.h"
#include "base/error.h"
#include "models/image_backbone_fields.h"
#include "models/sine_positions.h"

namespace rwkvlab {
namespace {

constexpr double mask_token_deviation = 0.02;
constexpr double pixel_epsilon = 1e-6;

Initialiser sine_values(const GridSize& grid, std::int64_t width) {
  return initialise::from_index([=](std::int64_t index) { return sine_position(grid, width, index); });
}

// U(±sqrt(6 / (inputs + outputs))) in all projections (Glorot and Bengio, 2010).
void use_glorot_values(Module& module) {
  const bool is_projection =
      dynamic_cast<Linear*>(&module) != nullptr || dynamic_cast<PatchProjection*>(&module) != nullptr;
  for (const auto& parameter : module.own_parameters()) {
    if (!is_projection || parameter->shape.rank() < 2) continue;
    const double outputs = static_cast<double>(parameter->shape[0]);
    const double bound = std::sqrt(6 / (outputs + static_cast<double>(parameter->shape.elements()) / outputs));
    parameter->initial = initialise::uniform(-bound, bound);
  }
  for (const auto& [name, child] : module.children()) use_glorot_values(*child);
}

struct Order {
  Tensor seen;    // rows of [batch · patches] that are seen, in their order
  Tensor places;  // of every patch: its row in [batch · seen rows, then the mask token]
  Tensor mask;
};

Order order_by_noise(const Tensor& noise, std::int64_t kept, DType type) {
  const std::int64_t batch = noise.shape()[0], patches = noise.shape()[1];
  Order order{Tensor::empty({batch * kept}, DType::i64), Tensor::empty({batch * patches}, DType::i64),
              Tensor::full({batch, patches}, 1, type)};
  if (ShapeOnly::active()) return order;
  const std::vector<double> values = noise.to_doubles();
  std::vector<std::int64_t> rank(static_cast<std::size_t>(patches));
  for (std::int64_t b = 0; b < batch; ++b) {
    std::iota(rank.begin(), rank.end(), b * patches);
    std::stable_sort(rank.begin(), rank.end(), [&](std::int64_t i, std::int64_t j) {
      return values[static_cast<std::size_t>(i)] < values[static_cast<std::size_t>(j)];
    });
    for (std::int64_t i = 0; i < patches; ++i) {
      const std::int64_t patch = rank[static_cast<std::size_t>(i)];
      order.places.data<std::int64_t>()[patch] = i < kept ? b * kept + i : batch * kept;
      if (i >= kept) continue;
      order.seen.data<std::int64_t>()[b * kept + i] = patch;
      for_real(type, [&]<class Real>(Real) { order.mask.data<Real>()[patch] = Real(0); });
    }
  }
  return order;
}

const auto registered = image_model_kind<MaskedAutoencoder, MaskedAutoencoderParams>("masked_autoencoder");

}  // namespace

void describe(Fields<MaskedAutoencoderParams>& f) {
  using P = MaskedAutoencoderParams;
  f.doc(
      "Predicts hidden patches of an image from the others: pre-training without labels. Mixes that shift tokens "
      "across the image do not go with it, as the patches that are seen have no grid: set token_shift: previous.");
  f.paper("arXiv:2111.06377");
  describe_image_layers(f);
  describe_image_size(f);
  f.add("decoder_layers", &P::decoder_layers, "layers of the decoder", between(1, 1000)).unit("layers");
  f.add("decoder_width", &P::decoder_width, "channels of the decoder", between(1, 65536)).unit("channels");
  f.add("mask_ratio", &P::mask_ratio, "share of the patches that is hidden", above(0) && below(1));
  f.add("normalised_pixels", &P::normalised_pixels,
        "predict a patch's pixels less their mean and divided by their deviation");
}

MaskedAutoencoder::MaskedAutoencoder(const MaskedAutoencoderParams& params, const ModelSite& data) : params_(params) {
  if (params.token_shift != "own")
    throw ConfigError("token_shift is q_shift, but the patches that a masked autoencoder sees have no grid");
  image_ = resolve_image_site(params, 0, data);
  Module& patches = child<Module>("patch_embed");
  projection_ = &patches.child<PatchProjection>("projection", image_.channels, params.patch_size, params.width);
  grid_ = projection_->grid(image_.height, image_.width);
  positions_ =
      &parameter("pos_embed", {1, grid_.tokens(), params.width}, sine_values(grid_, params.width), matrix_rules());
  encoder_ = std::make_unique<ImageLayers>(*this, "blocks", params);
  encoder_norm_ = &child<LayerNorm>("ln1", params.width, params.layer_norm_epsilon);
  ImageLayerParams decoder = params;
  decoder.layers = params.decoder_layers;
  decoder.width = params.decoder_width;
  decoder.recompute_layers.clear();
  decoder_embed_ = &child<Linear>("decoder_embed", params.width, decoder.width, initialise::constant(0), true);
  mask_token_ =
      &parameter("mask_token", {1, 1, decoder.width}, initialise::normal(mask_token_deviation), matrix_rules());
  decoder_positions_ = &parameter("decoder_pos_embed", {1, grid_.tokens(), decoder.width},
                                  sine_values(grid_, decoder.width), matrix_rules());
  decoder_ = std::make_unique<ImageLayers>(*this, "decoder_blocks", decoder);
  decoder_norm_ = &child<LayerNorm>("ln2", decoder.width, params.layer_norm_epsilon);
  prediction_ = &child<Linear>("decoder_pred", decoder.width, params.patch_size * params.patch_size * image_.channels,
                               initialise::constant(0), true);
  if (encoder_->needs_grid()) {
    throw ConfigError(
        "the patches that a masked autoencoder sees have no grid: set token_shift: previous (or none) in time_mix and "
        "channel_mix");
  }
  use_glorot_values(*this);
}

Var MaskedAutoencoder::encode(const Var& images, const GridSize& grid, const Tensor& seen,
                              const ForwardContext& context) const {
  const std::int64_t batch = images.shape()[0], kept = seen.elements() / batch;
  const Var twice = scale(resize_grid(positions_->var, grid_, grid, "bicubic"), 2);
  Var x = add_positions(projection_->forward(images, context), reshape(twice, {grid.tokens(), params_.width}), 0);
  x = reshape(gather_rows(x, seen), {batch, kept, params_.width});
  return encoder_norm_->forward(encoder_->forward(x, {1, kept, 0}, context), context);
}

Var MaskedAutoencoder::decode(const Var& encoded, const GridSize& grid, const Tensor& places,
                              const ForwardContext& context) const {
  const std::int64_t batch = encoded.shape()[0], width = params_.decoder_width;
  const Var embedded = decoder_embed_->forward(encoded, context);
  const Var rows = append_tokens(reshape(embedded, {1, batch * encoded.shape()[1], width}), mask_token_->var);
  const Var whole = reshape(gather_rows(rows, places), {batch, grid.tokens(), width});
  const Var positions = resize_grid(decoder_positions_->var, grid_, grid, "bicubic");
  const Var x = add_positions(whole, reshape(positions, {grid.tokens(), width}), 0);
  const Var h = decoder_norm_->forward(decoder_->forward(x, {grid.rows, grid.columns, 0}, context), context);
  return prediction_->forward(h, context);
}

Var MaskedAutoencoder::target(const Var& images) const {
  const Var patches = image_patches(images, params_.patch_size);
  const Shape& shape = patches.shape();
  const std::int64_t channels = images.shape()[1], values = shape[2];
  Var pixels = channels_first(reshape(patches, {shape[0] * shape[1], channels, values / channels}));
  pixels = reshape(pixels, shape);
  if (!params_.normalised_pixels) return pixels;
  // The unbiased variance is n / (n - 1) times that of a layer norm.
  const double share = static_cast<double>(values - 1) / static_cast<double>(values);
  const Tensor weight = Tensor::full({values}, std::sqrt(share), images.dtype());
  return layer_norm(pixels, Var(weight), Var(Tensor::zeros({values}, images.dtype())), pixel_epsilon * share);
}

MaskedPrediction MaskedAutoencoder::forward(const Var& images, const Tensor& noise,
                                            const ForwardContext& context) const {
  MaskedPrediction result;
  in_module(*this, context, [&] {
    if (images.shape().rank() != 4) throw ShapeError("expected images [batch, channels, height, width]");
    const GridSize grid = projection_->grid(images.shape()[2], images.shape()[3]);
    if (noise.shape() != Shape({images.shape()[0], grid.tokens()})) {
      throw ShapeError(fmt::format("found noise of shape {}, expected one number per patch: [{}, {}]",
                                   noise.shape().text(), images.shape()[0], grid.tokens()));
    }
    const auto kept = static_cast<std::int64_t>(static_cast<double>(grid.tokens()) * (1 - params_.mask_ratio));
    if (kept < 1)
      throw ShapeError(fmt::format("mask_ratio {} leaves none of {} patches", params_.mask_ratio, grid.tokens()));
    const Order order = order_by_noise(noise, kept, images.dtype());
    result.mask = order.mask;
    result.prediction = decode(encode(images, grid, order.seen, context), grid, order.places, context);
    result.error = masked_squared_error(result.prediction, target(images), order.mask);
    return result.error.loss;
  });
  return result;
}

Var MaskedAutoencoder::trial_pass(std::int64_t batch, const ForwardContext& context) const {
  const Tensor images = Tensor::empty({batch, image_.channels, image_.height, image_.width});
  return forward(Var(images), Tensor::empty({batch, patches()}), context).error.loss;
}

std::vector<std::string> MaskedAutoencoder::recomputed_layers() const {
  std::vector<std::string> paths = encoder_->recomputed_paths();
  for (std::string& path : decoder_->recomputed_paths()) paths.push_back(std::move(path));
  return paths;
}

std::string MaskedAutoencoder::summary() const {
  return fmt::format("masked_autoencoder, {} + {} layers, widths {} and {}, {}", params_.layers, params_.decoder_layers,
                     params_.width, params_.decoder_width, image_size_text(image_, params_.patch_size));
}

}  // namespace rwkvlab
