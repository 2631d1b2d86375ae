#include "blocks/linear_state_mixer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops/elementwise.h"
#include "base/error.h"

namespace rwkvlab {
namespace {

std::int64_t head_size_of(std::int64_t given, const char* key, std::int64_t channels, std::int64_t heads) {
  if (given > 0) return given;
  if (channels >= heads && channels % heads == 0) return channels / heads;
  std::int64_t nearest = std::clamp<std::int64_t>(heads, 1, std::max<std::int64_t>(channels, 1));
  while (channels % nearest != 0) --nearest;
  throw ConfigError(
      fmt::format("heads {} does not divide the {} channels that {} 0 stands for; expected a divisor, such as {}, or a "
                  "{} of your own",
                  heads, channels, key, nearest, key));
}

std::int64_t part(std::int64_t width, double factor) {
  return static_cast<std::int64_t>(std::floor(static_cast<double>(width) * factor));
}

}  // namespace

std::int64_t heads_or_default(std::int64_t given, std::int64_t width) {
  if (given > 0) return given;
  std::int64_t heads = std::max<std::int64_t>(1, width / 64);
  while (width % heads != 0) --heads;
  return heads;
}

LinearStateMixer::LinearStateMixer(const LinearStateParams& params, const MixerSite& site, const Expansion& expansion)
    : width_(site.width),
      heads_(heads_or_default(params.heads, site.width)),
      key_size_(head_size_of(params.key_size, "key_size", part(site.width, expansion.keys), heads_)),
      value_size_(head_size_of(params.value_size, "value_size", part(site.width, expansion.values), heads_)),
      taps_(params.convolution) {}

void LinearStateMixer::add_projections(const Initial& first, const Initial& last, std::int64_t state_rows) {
  const std::int64_t keys = key_channels(), values = value_channels();
  query_ = &child<Linear>("q_proj", width_, keys, first(width_, keys));
  key_ = &child<Linear>("k_proj", width_, keys, first(width_, keys));
  value_ = &child<Linear>("v_proj", width_, values, first(width_, values));
  if (taps_ > 0) {
    query_convolution_ = &child<ShortConvolution>("q_conv1d", keys, taps_, false);
    key_convolution_ = &child<ShortConvolution>("k_conv1d", keys, taps_, false);
    value_convolution_ = &child<ShortConvolution>("v_conv1d", values, taps_, false);
  }
  output_ = &child<Linear>("o_proj", values, width_, last(values, width_));
  state("wkv", {heads_, state_rows, key_size_});
}

LinearStateMixer::Projected LinearStateMixer::projected(const Var& x, const ForwardContext& context) const {
  const auto one = [&](const Linear& projection, const ShortConvolution* convolution) {
    const Var y = projection.forward(x, context);
    return convolution == nullptr ? y : activation(Activation::silu, convolution->forward(y, context));
  };
  return {one(*query_, query_convolution_), one(*key_, key_convolution_), one(*value_, value_convolution_)};
}

Var LinearStateMixer::recur(const Wkv7Inputs& inputs, const ForwardContext& context) const {
  if (inputs.log_decay.defined()) probe(context, "log_decay", inputs.log_decay);
  const Wkv7Result wkv = wkv7(inputs, read_state(context, "wkv"), heads_, wants_state(context));
  write_state(context, "wkv", wkv.final_state);
  probe(context, "wkv", wkv.y);
  return wkv.y;
}

Var LinearStateMixer::output(const Var& y, const ForwardContext& context) const {
  Var out = output_->forward(y, context);
  probe(context, "out", out);
  return out;
}

double LinearStateMixer::query_scale() const { return 1 / std::sqrt(static_cast<double>(key_size_)); }

std::string LinearStateMixer::sizes() const {
  return fmt::format("{} heads of {} keys and {} values{}", heads_, key_size_, value_size_,
                     taps_ > 0 ? fmt::format(", convolution over {}", taps_) : "");
}

Initialiser torch_linear(std::int64_t inputs, std::int64_t /*outputs*/) {
  const double limit = 1 / std::sqrt(static_cast<double>(inputs));
  return initialise::uniform(-limit, limit);
}

Initialiser small_normal(std::int64_t /*inputs*/, std::int64_t /*outputs*/) { return initialise::normal(0.02); }

}  // namespace rwkvlab
