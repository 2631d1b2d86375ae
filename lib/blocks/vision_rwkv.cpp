// Vision-RWKV (Duan et al., "Vision-RWKV: Efficient and Scalable Visual Perception with RWKV-Like Architectures",
// arXiv:2403.02308), its VRWKV blocks.
//
// Token shift: mix(x, m) = x ⊙ m + xs ⊙ (1 - m), xs = Q-Shift(x): kernels/token_grid.h.
//
// Time mix (`att`, "spatial mix" in the paper), T tokens:
//   k = W_k mix(x, m_k)    v = W_v mix(x, m_v)    r = W_r mix(x, m_r)              all [width, width]
//   y = BiWKV(k, v; spatial_decay / T, spatial_first / T)                          autograd/ops/bi_wkv.h
//   out = W_o (σ(r) ⊙ y), with key_norm y = LN(y) before
// Both are divided by T, as in the published code; the paper divides the decay alone. Without bounded_decay neither is.
//
// Channel mix (`ffn`), F = hidden_width:
//   h = max(W_k mix(x, m_k), 0)², with key_norm h = LN(h);   out = σ(W_r mix(x, m_r)) ⊙ W_v h
#include <fmt/format.h>

#include <cmath>

#include "autograd/ops/bi_wkv.h"
#include "autograd/ops/elementwise.h"
#include "blocks/image_mixer.h"
#include "blocks/shifted_mixer.h"
#include "config/registry.h"
#include "nn/layers.h"

namespace rwkvlab {
namespace {

constexpr double weight_deviation = 0.02;
constexpr double norm_epsilon = 1e-5;

constexpr const char* shift_heads_doc =
    "channels of a head, for token_shift q_shift_heads; 0: 64, or all channels when there are fewer";

struct TimeMixParams : ImageShiftParams {
  bool key_norm = false;
  std::string direction = "bidirectional";
  std::string initial_values = "fancy";
  std::string kernel_form = "paper";
  bool bounded_decay = true;
};

std::string check_time_mix(const TimeMixParams& params) {
  return params.kernel_form == "official_cuda" && params.direction == "causal"
             ? "kernel_form official_cuda has no causal direction: the published kernels are bidirectional"
             : "";
}

template <class Params>
void describe_initial_values(Fields<Params>& f, std::string Params::*member) {
  f.add("initial_values", member, "initial mixes, decays and bonuses",
        one_of({{"fancy", "ramps over the channels that differ from layer to layer"},
                {"local", "decay and bonus 1, mixes 1: no token shift at first"},
                {"global", "decay and bonus 0, mixes 1/2"}}));
}

void describe_time_mix(Fields<TimeMixParams>& f) {
  using P = TimeMixParams;
  f.doc(
      "Vision-RWKV time mix: per channel, a mean of the values of all tokens of an image, weighted by key and distance "
      "in the order of the rows, gated by the receptance. For images: it sees all tokens at once.");
  f.paper("arXiv:2403.02308");
  describe_image_shift(f, shift_heads_doc);
  f.add("key_norm", &P::key_norm, "layer norm of the mean, before the gate (the name is the official one)");
  f.add("direction", &P::direction, "which tokens the mean is over",
        one_of({{"bidirectional", "all"}, {"causal", "those up to the token, row by row"}}));
  describe_initial_values(f, &P::initial_values);
  f.add("kernel_form", &P::kernel_form, "arithmetic of the mean",
        one_of({{"paper", "the paper's equation"},
                {"official_cuda", "what the published GPU kernels compute, for weights trained with them; slow"}}));
  f.add("bounded_decay", &P::bounded_decay,
        "divide decay and bonus by the number of tokens, so that the decay across the image is bounded");
  f.check(check_time_mix, "kernel_form");
}

// The official ramp, or one number for all channels.
Initialiser mix_initial(const std::string& mode, const Initialiser& fancy) {
  return mode == "fancy" ? fancy : initialise::constant(mode == "local" ? 1 : 0.5);
}

Initialiser rate_initial(const std::string& mode, const Initialiser& fancy) {
  return mode == "fancy" ? fancy : initialise::constant(mode == "local" ? 1 : 0);
}

class VisionTimeMix final : public ImageMixer {
 public:
  VisionTimeMix(const TimeMixParams& params, const MixerSite& site)
      : ImageMixer(params, site, MixedToken::current),
        params_(params),
        decay_(parameter("spatial_decay", {width_},
                         rate_initial(params.initial_values, image_decay_ramp(width_, site, -5, 8)), matrix_rules())),
        first_(
            parameter("spatial_first", {width_}, rate_initial(params.initial_values, bonus_zigzag()), matrix_rules())) {
    const double r = site.remaining();
    add_mix("spatial_mix_k", mix_initial(params.initial_values, mix_ramp(width_, r)));
    add_mix("spatial_mix_v", mix_initial(params.initial_values, mix_ramp(width_, r, 0.3 * site.depth())));
    add_mix("spatial_mix_r", mix_initial(params.initial_values, mix_ramp(width_, 0.5 * r)));
    const Initialiser normal = initialise::normal(weight_deviation);
    key_ = &child<Linear>("key", width_, width_, normal);
    value_ = &child<Linear>("value", width_, width_, normal);
    receptance_ = &child<Linear>("receptance", width_, width_, normal);
    if (params.key_norm) key_norm_ = &child<LayerNorm>("key_norm", width_, norm_epsilon);
    output_ = &child<Linear>("output", width_, width_, normal);
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      const std::vector<Var> projections = projected(x, {key_, value_, receptance_}, context);
      const Var &k = projections[0], &v = projections[1], &r = projections[2];
      const Var decay = per_token(decay_.var, x), first = per_token(first_.var, x);
      probe(context, "decay", decay, "channel");
      Var y = bi_wkv(decay, first, k, v, form());
      probe(context, "wkv", y);
      if (key_norm_ != nullptr) y = key_norm_->forward(y, context);
      Var out = output_->forward(gate(Activation::sigmoid, r, y), context);
      probe(context, "out", out);
      return out;
    });
  }

  std::string summary() const override {
    return fmt::format("vision_rwkv, token shift {}, {}{}", params_.token_shift, params_.direction,
                       params_.key_norm ? ", key norm" : "");
  }

 private:
  // ln 0.3 + 0.5 (((c + 1) mod 3) - 1)
  static Initialiser bonus_zigzag() {
    return initialise::from_index(
        [](std::int64_t c) { return std::log(0.3) + 0.5 * static_cast<double>((c + 1) % 3 - 1); });
  }
  Var per_token(const Var& rate, const Var& x) const {
    return params_.bounded_decay ? scale(rate, 1.0 / static_cast<double>(x.shape()[1])) : rate;
  }
  BiWkvForm form() const {
    if (params_.direction == "causal") return BiWkvForm::causal;
    return params_.kernel_form == "official_cuda" ? BiWkvForm::official_cuda : BiWkvForm::paper;
  }

  TimeMixParams params_;
  Parameter& decay_;
  Parameter& first_;
  Linear *key_, *value_, *receptance_, *output_;
  LayerNorm* key_norm_ = nullptr;
};

struct ChannelMixParams : ImageShiftParams {
  double hidden_rate = 4;
  std::int64_t hidden_width = 0;
  bool key_norm = false;
  std::string initial_values = "fancy";
};

/// The same for VRWKV6, whose token shift goes by heads.
struct ChannelMix6Params : ChannelMixParams {
  ChannelMix6Params() { token_shift = "q_shift_heads"; }
};

template <class Params>
void describe_channel_mix(Fields<Params>& f, const char* name) {
  f.doc(
      fmt::format("{} channel mix: a two-layer network with squared ReLU, gated by the receptance. For images.", name));
  f.paper("arXiv:2403.02308");
  describe_image_shift(f, shift_heads_doc);
  f.add("hidden_rate", static_cast<double Params::*>(&ChannelMixParams::hidden_rate),
        "channels of the hidden layer, in widths of the model", above(0));
  f.add("hidden_width", static_cast<std::int64_t Params::*>(&ChannelMixParams::hidden_width),
        "channels of the hidden layer; 0: hidden_rate times the model's width", at_least(0))
      .unit("channels");
  f.add("key_norm", static_cast<bool Params::*>(&ChannelMixParams::key_norm), "layer norm of the hidden layer");
  describe_initial_values(f, static_cast<std::string Params::*>(&ChannelMixParams::initial_values));
}

class VisionChannelMix final : public ImageMixer {
 public:
  VisionChannelMix(const ChannelMixParams& params, const MixerSite& site)
      : ImageMixer(params, site, MixedToken::current),
        token_shift_(params.token_shift),
        hidden_(params.hidden_width > 0
                    ? params.hidden_width
                    : std::max<std::int64_t>(
                          1, static_cast<std::int64_t>(static_cast<double>(width_) * params.hidden_rate))) {
    for (const char* const name : {"spatial_mix_k", "spatial_mix_r"}) {
      add_mix(name, mix_initial(params.initial_values, mix_ramp(width_, site.remaining())));
    }
    const Initialiser normal = initialise::normal(weight_deviation);
    key_ = &child<Linear>("key", width_, hidden_, normal);
    if (params.key_norm) key_norm_ = &child<LayerNorm>("key_norm", hidden_, norm_epsilon);
    receptance_ = &child<Linear>("receptance", width_, width_, normal);
    value_ = &child<Linear>("value", hidden_, width_, normal);
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      const std::vector<Var> blends = shifted(x, context);
      const Var v = hidden_layers(blends[0], context);
      Var out = gate(Activation::sigmoid, receptance_->forward(blends[1], context), v);
      probe(context, "out", out);
      return out;
    });
  }

  std::string summary() const override {
    return fmt::format("vision_rwkv, {} hidden channels, token shift {}{}", hidden_, token_shift_,
                       key_norm_ != nullptr ? ", key norm" : "");
  }

 private:
  Var hidden_layers(const Var& x, const ForwardContext& context) {
    if (key_norm_ == nullptr) return value_->forward_hidden(*key_, Activation::squared_relu, x, context);
    const Var h = activation(Activation::squared_relu, key_->forward(x, context));
    return value_->forward(key_norm_->forward(h, context), context);
  }

  std::string token_shift_;
  std::int64_t hidden_;
  Linear *key_, *receptance_, *value_;
  LayerNorm* key_norm_ = nullptr;
};

const RegisterKind<Mixer, TimeMixParams, MixerSite> time_mix("time_mix", "vision_rwkv", describe_time_mix,
                                                             [](const TimeMixParams& params, const MixerSite& site) {
                                                               return std::make_unique<VisionTimeMix>(params, site);
                                                             });
const RegisterKind<Mixer, ChannelMixParams, MixerSite> channel_mix(
    "channel_mix", "vision_rwkv", [](Fields<ChannelMixParams>& f) { describe_channel_mix(f, "Vision-RWKV"); },
    [](const ChannelMixParams& params, const MixerSite& site) {
      return std::make_unique<VisionChannelMix>(params, site);
    });
const RegisterKind<Mixer, ChannelMix6Params, MixerSite> channel_mix_6(
    "channel_mix", "vision_rwkv6", [](Fields<ChannelMix6Params>& f) { describe_channel_mix(f, "VRWKV6"); },
    [](const ChannelMix6Params& params, const MixerSite& site) {
      return std::make_unique<VisionChannelMix>(params, site);
    });

}  // namespace
}  // namespace rwkvlab
