#include "blocks/image_mixer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "nn/layers.h"

namespace rwkvlab {
namespace {

std::int64_t head_size_of(const ImageShiftParams& params, std::int64_t width) {
  const std::int64_t size = params.head_size > 0 ? params.head_size : std::min<std::int64_t>(64, width);
  if (width % size == 0) return size;
  std::int64_t nearest = std::min(size, width);
  while (width % nearest != 0) --nearest;
  throw ConfigError(
      fmt::format("head_size {} does not divide the {} channels of the model; the largest smaller size that does is {}",
                  size, width, nearest));
}

}  // namespace

ImageShiftParams::ImageShiftParams() = default;

ImageMixer::ImageMixer(const ImageShiftParams& params, const MixerSite& site, MixedToken weighs)
    : width_(site.width), head_size_(width_), heads_(1), params_(params), weighs_(weighs) {
  if (params.token_shift == "q_shift_heads" || params.head_size > 0) {
    head_size_ = head_size_of(params, width_);
    heads_ = width_ / head_size_;
  }
  if (params.token_shift == "q_shift_heads") make_shift({1, 1, 0});  // Refuses heads that have no quarters.
}

void ImageMixer::add_mix(const std::string& name, Initialiser initial) {
  if (has_token_shift()) mixes_.push_back(&parameter(name, {1, 1, width_}, std::move(initial), matrix_rules()));
  ++mix_count_;
}

std::vector<Var> ImageMixer::mix_values() const {
  std::vector<Var> values;
  for (const Parameter* const mix : mixes_) values.push_back(mix->var);
  return values;
}

std::vector<Var> ImageMixer::shifted(const Var& x, const ForwardContext& context) {
  const TokenShift* const shift = token_shift(x, context);
  if (shift == nullptr) return std::vector<Var>(mix_count_, x);
  return token_mix(x, {}, mix_values(), weighs_, shift);
}

std::vector<Var> ImageMixer::projected(const Var& x, const std::vector<const Linear*>& layers,
                                       const ForwardContext& context) {
  const TokenShift* const shift = token_shift(x, context);
  if (shift == nullptr) return forward_each(layers, std::vector<Var>(layers.size(), x), context);
  return forward_mixed(layers, {x, {}, mix_values(), weighs_, shift}, context);
}

TokenShift ImageMixer::make_shift(const TokenGrid& grid) const {
  const ImageShiftParams& p = params_;
  if (p.token_shift == "q_shift_heads") return TokenShift::q_shift_heads(grid, width_, heads_, p.shift_pixels);
  if (p.token_shift == "previous") return TokenShift::previous_token(grid.tokens(), width_, p.shift_pixels);
  if (p.token_shift == "double") {
    return TokenShift::double_shift(grid.tokens(), width_, p.channel_gamma, p.shift_pixels);
  }
  return TokenShift::q_shift(grid, width_, p.channel_gamma, p.shift_pixels);
}

const TokenShift* ImageMixer::token_shift(const Var& x, const ForwardContext& context) {
  if (context.state_in != nullptr || wants_state(context)) {
    throw ShapeError("a mixer of images sees all tokens at once and cannot carry a state");
  }
  if (!has_token_shift()) return nullptr;
  if (context.token_shift != nullptr) return context.token_shift;
  const std::int64_t tokens = x.shape().rank() == 3 ? x.shape()[1] : 0;
  TokenGrid grid = {1, tokens, 0};
  if (needs_grid()) {
    if (context.grid == nullptr) {
      throw ShapeError(
          fmt::format("token_shift {} needs to know how the {} tokens lie in an image; here they are a "
                      "sequence: use an image model, or token_shift previous or none",
                      params_.token_shift, tokens));
    }
    grid = *context.grid;
    if (grid.tokens() != tokens) {
      throw ShapeError(fmt::format("input {} in a grid of {} x {} tokens and {} more", x.shape().text(), grid.rows,
                                   grid.columns, grid.extra));
    }
  }
  if (!made_ || made_->first != grid) made_.emplace(grid, make_shift(grid));
  return &made_->second;
}

Initialiser image_decay_ramp(std::int64_t width, const MixerSite& site, double start, double rise) {
  const double last = static_cast<double>(std::max<std::int64_t>(width - 1, 1)), power = 0.7 + 1.3 * site.depth();
  return initialise::from_index(
      [=](std::int64_t i) { return start + rise * std::pow(static_cast<double>(i) / last, power); });
}

}  // namespace rwkvlab
