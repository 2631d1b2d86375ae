#include "blocks/matrix_state_mixer.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/ops/elementwise.h"
#include "base/error.h"

namespace rwkvlab {
namespace {

// ((1 + l) / L)^0.7: later layers begin louder.
Initialiser norm_weight(const MixerSite& site) {
  return initialise::constant(std::pow((1.0 + site.layer) / site.layers, 0.7));
}

std::int64_t head_size_of(const MatrixStateParams& params, std::int64_t attention) {
  const std::int64_t size = params.head_size > 0 ? params.head_size : std::min<std::int64_t>(64, attention);
  if (attention % size == 0) return size;
  std::int64_t nearest = std::min(size, attention);
  while (attention % nearest != 0) --nearest;
  throw ConfigError(fmt::format(
      "head_size {} does not divide the {} channels of the time mix; the largest smaller size that does is {}", size,
      attention, nearest));
}

// i / (count - 1)
double position(std::int64_t i, std::int64_t count) {
  return static_cast<double>(i) / static_cast<double>(std::max<std::int64_t>(count - 1, 1));
}

}  // namespace

MatrixStateParams::MatrixStateParams() = default;

MatrixStateMixer::MatrixStateMixer(const MatrixStateParams& params, const MixerSite& site, bool token_shift,
                                   MixedToken weighs)
    : ShiftedMixer(site, token_shift, weighs),
      attention_(params.attention_width > 0 ? params.attention_width : site.width),
      head_size_(head_size_of(params, attention_)),
      heads_(attention_ / head_size_) {}

void MatrixStateMixer::add_projections(const MatrixStateParams& params, const MixerSite& site) {
  receptance_ = &child<Linear>("receptance", width_, attention_, rwkv_orthogonal(width_, attention_));
  key_ = &child<Linear>("key", width_, attention_, rwkv_orthogonal(width_, attention_, 0.1));
  value_ = &child<Linear>("value", width_, attention_, rwkv_orthogonal(width_, attention_));
  output_ = &child<Linear>("output", attention_, width_, initialise::constant(0));
  if (params.normalization == "group_norm") {
    group_norm_ =
        &child<GroupNorm>("ln_x", attention_, heads_,
                          params.norm_epsilon * params.head_size_divisor * params.head_size_divisor, norm_weight(site));
  } else if (params.normalization == "layer_norm") {
    layer_norm_ = &child<LayerNorm>("ln_x", attention_, params.norm_epsilon, norm_weight(site));
  }
}

Initialiser MatrixStateMixer::decay_ramp(std::int64_t count, const MixerSite& site) {
  const double power = 0.7 + 1.3 * site.depth();
  return initialise::from_index([=](std::int64_t i) { return -6 + 5 * std::pow(position(i, count), power); });
}

Initialiser MatrixStateMixer::bonus_ramp(std::int64_t count, const MixerSite& site, double zigzag) {
  const double depth = site.depth();
  return initialise::from_index(
      [=](std::int64_t i) { return depth * (1 - position(i, count)) + zigzag * static_cast<double>((i + 1) % 3 - 1); });
}

Var MatrixStateMixer::constant_decay(const Var& like, std::int64_t attention, const MixerSite& site, bool forgets) {
  constexpr double never = -1e3;  // exp(-exp(-1000)) = 1
  const Tensor raw = Tensor::empty({attention}, like.dtype());
  (forgets ? decay_ramp(attention, site) : initialise::constant(never))(raw, RandomStream(0, "decay"));
  return Var(raw);
}

void MatrixStateMixer::probe_decay(const Wkv6Inputs& inputs, const ForwardContext& context) const {
  if (inputs.decay.shape() != inputs.key.shape()) {  // One for all tokens.
    probe(context, "decay", Var(inputs.decay.value().reshaped({attention_})), "channel");
    return;
  }
  probe(context, "decay", inputs.decay);
  // What every token's decay is, as all time mixes with a decay per token show it: w = exp(-exp(decay)).
  probe(context, "log_decay", scale(activation(Activation::exp, inputs.decay), -1));
}

Var MatrixStateMixer::attend(Wkv6Inputs inputs, const Var& start, const ForwardContext& context) const {
  const Var carried = read_state(context, "wkv");
  inputs.state = carried.defined() ? carried : start;
  inputs.head_size = head_size_;
  if (context.probes != nullptr) probe_decay(inputs, context);
  const Wkv6Result wkv = wkv6(inputs, wants_state(context));
  write_state(context, "wkv", wkv.final_state);
  probe(context, "wkv", wkv.y);
  if (group_norm_ != nullptr) return group_norm_->forward(wkv.y, context);
  return layer_norm_ != nullptr ? layer_norm_->forward(wkv.y, context) : wkv.y;
}

}  // namespace rwkvlab
