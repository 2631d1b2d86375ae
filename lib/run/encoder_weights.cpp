#include "run/encoder_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/image_tokens.h"
#include "base/error.h"
#include "models/image_model.h"
#include "train/non_finite.h"
#include "train/tensor_loading.h"

namespace rwkvlab {
namespace {

constexpr std::string_view backbone_prefix = "backbone.", layers_prefix = "layers.", positions_name = "pos_embed";

const ImageBackbone* backbone_of(const Module& model) {
  const auto* const images = dynamic_cast<const ImageModel*>(&model);
  return images == nullptr ? nullptr : images->image_backbone();
}

// The autoencoder's name of a parameter of the model; empty where it has none.
std::string encoder_name(std::string_view parameter) {
  if (!parameter.starts_with(backbone_prefix)) return "";
  const std::string_view name = parameter.substr(backbone_prefix.size());
  if (name == "cls_token") return "";
  if (!name.starts_with(layers_prefix)) return std::string(name);
  return fmt::format("blocks.{}", name.substr(layers_prefix.size()));
}

// What an autoencoder holds that a backbone has no use for. The last norm and the positions are asked for by models
// that have them.
bool stays_behind(std::string_view name) {
  return name.starts_with("decoder_") || name == "mask_token" || name.starts_with("ln2.") || name.starts_with("ln1.") ||
         name == positions_name;
}

// A grid of so many tokens with the proportions of `like`; none when there is no such grid.
std::optional<GridSize> grid_like(const GridSize& like, std::int64_t tokens) {
  const double rows =
      std::sqrt(static_cast<double>(tokens) * static_cast<double>(like.rows) / static_cast<double>(like.columns));
  const auto whole = static_cast<std::int64_t>(std::llround(rows));
  if (whole < 1 || tokens % whole != 0 || whole * like.columns != tokens / whole * like.rows) return std::nullopt;
  return GridSize{whole, tokens / whole};
}

void find_position_grid(EncoderMatch& match, const GridSize& own, std::int64_t tokens, const TensorFile& file) {
  if (tokens == own.tokens()) return;
  match.positions = grid_like(own, tokens);
  if (match.positions) return;
  throw DataError(fmt::format(
      "'{}' has {} positions, and the model {} x {} of them, which is another shape: set model.position_height and "
      "position_width to the size in pixels of the images that the file was trained on",
      file.path().string(), tokens, own.rows, own.columns));
}

}  // namespace

bool has_image_backbone(const Module& model) { return backbone_of(model) != nullptr; }

bool holds_masked_autoencoder(const TensorFile& file) {
  return file.contains("mask_token") && file.contains("decoder_pred.weight");
}

EncoderMatch match_encoder(const Module& model, const TensorFile& file) {
  const ImageBackbone* const backbone = backbone_of(model);
  check_invariant(backbone != nullptr, "an encoder's weights are for models with a backbone");
  EncoderMatch match;
  std::vector<ExpectedTensor> expected;
  const TensorEntry* const positions = file.find(positions_name);
  for (const Parameter* const parameter : model.parameters()) {
    std::string name = encoder_name(parameter->name);
    if (name.empty()) {
      match.fresh.push_back(parameter->name);
      continue;
    }
    Shape shape = parameter->shape;
    // Any number of positions; whether it can be resized is seen below.
    if (name == positions_name && positions != nullptr && positions->shape.elements() % shape[2] == 0) {
      shape = {1, positions->shape.elements() / shape[2], shape[2]};
    }
    expected.push_back({name, shape, DType::f32});
    match.taken.push_back({parameter, std::move(name)});
  }
  check_tensors(file, expected, {.prefix = "", .may_be_extra = stays_behind});
  if (backbone->params().positions == "learned") {
    find_position_grid(match, backbone->position_grid(), positions->shape.elements() / backbone->params().width, file);
  }
  return match;
}

std::string load_encoder(const Module& model, const TensorFile& file) {
  const EncoderMatch match = match_encoder(model, file);
  const ImageBackbone& backbone = *backbone_of(model);
  std::string positions;
  for (const auto& [parameter, name] : match.taken) {
    const Tensor& target = parameter->var.value();
    if (name != positions_name) {
      file.read(name, target);
      continue;
    }
    const GridSize own = backbone.position_grid(), stored = match.positions.value_or(own);
    const Shape shape = {1, stored.tokens(), backbone.params().width};
    const Var twice = scale(Var(file.tensor(name, target.dtype()).reshaped(shape)), 2);
    target.copy_from(resize_grid(twice, stored, own, backbone.params().position_resize).value());
    positions = ", positions doubled";
    if (match.positions)
      positions +=
          fmt::format(" and resized from {} x {} to {} x {}", stored.rows, stored.columns, own.rows, own.columns);
  }
  if (const std::string spoilt = non_finite_parameter(model); !spoilt.empty()) {
    throw DataError(fmt::format("'{}': the tensor {} holds values that are not finite numbers", file.path().string(),
                                encoder_name(spoilt)));
  }
  return fmt::format("{} tensors of the encoder in {}{}; new: {}", match.taken.size(), file.path().string(), positions,
                     match.fresh.empty() ? "nothing" : fmt::format("{}", fmt::join(match.fresh, ", ")));
}

}  // namespace rwkvlab
