// VRWKV6, the variant of Vision-RWKV (arXiv:2403.02308; it is in the authors' code, not in the paper) with the
// matrix-valued states of RWKV-6 (arXiv:2404.05892).
//
// Time mix (`att`), heads of N channels, δ = shift(x) - x with Q-Shift in every head, i in {w, k, v, r, g}:
//   z = x + δ ⊙ maa_x;  q = tanh(z W1) in parts q_i of `mix_rank` channels;  x_i = x + δ ⊙ (maa_i + q_i W2_i)
//   r = W_r x_r    k = W_k x_k    v = W_v x_v    g = SiLU(W_g x_g)                 all [width, width]
//   ω = time_decay + tanh(x_w D1) D2                                               of rank `decay_rank`
//   y = BiWKV6(r, k, v; ω, time_faaaa)                                             autograd/ops/bi_wkv.h
//   out = W_o (GroupNorm_heads(y) ⊙ g), with key_norm y = LN(y) before
// Without a token shift there are no mixes, and the projections see x.
// Its channel mix: blocks/vision_rwkv.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops/bi_wkv.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/matmul.h"
#include "autograd/ops/token_lerp.h"
#include "blocks/image_mixer.h"
#include "blocks/shifted_mixer.h"
#include "config/registry.h"
#include "nn/layers.h"

namespace rwkvlab {
namespace {

constexpr double weight_deviation = 0.02;
constexpr double low_rank_limit = 1e-4;
constexpr double norm_epsilon = 1e-5;

struct TimeMixParams : ImageShiftParams {
  TimeMixParams() { token_shift = "q_shift_heads"; }
  std::int64_t mix_rank = 32;
  std::int64_t decay_rank = 64;
  bool key_norm = false;
};

void describe_time_mix(Fields<TimeMixParams>& f) {
  using P = TimeMixParams;
  f.doc(
      "VRWKV6 time mix: heads with a matrix-valued state, read from the first token of an image to the last and back. "
      "For images: it sees all tokens at once.");
  f.paper("arXiv:2403.02308");
  describe_image_shift(f, "channels of a head; 0: 64, or all channels when there are fewer");
  f.add("mix_rank", &P::mix_rank, "rank of the blends' dependence on the data", at_least(1));
  f.add("decay_rank", &P::decay_rank, "rank of the decay's dependence on the data", at_least(1));
  f.add("key_norm", &P::key_norm, "layer norm of what the heads read, before the group norm");
}

// A head size of 0 means a size here, whatever the token shift.
ImageShiftParams with_heads(ImageShiftParams params, const MixerSite& site) {
  if (params.head_size == 0) params.head_size = std::min<std::int64_t>(64, site.width);
  return params;
}

class Vision6TimeMix final : public ImageMixer {
 public:
  Vision6TimeMix(const TimeMixParams& params, const MixerSite& site)
      : ImageMixer(with_heads(params, site), site, MixedToken::previous), token_shift_(params.token_shift) {
    add_mixes(params, site);
    decay_ = &parameter("time_decay", {1, 1, width_}, image_decay_ramp(width_, site, -6, 5), matrix_rules());
    decay_w1_ = &low_rank("time_decay_w1", {width_, params.decay_rank});
    decay_w2_ = &low_rank("time_decay_w2", {params.decay_rank, width_});
    bonus_ = &parameter("time_faaaa", {heads_, head_size_}, bonus_ramp(site), matrix_rules());
    const Initialiser normal = initialise::normal(weight_deviation);
    receptance_ = &child<Linear>("receptance", width_, width_, normal);
    key_ = &child<Linear>("key", width_, width_, normal);
    value_ = &child<Linear>("value", width_, width_, normal);
    gate_ = &child<Linear>("gate", width_, width_, normal);
    if (params.key_norm) key_norm_ = &child<LayerNorm>("key_norm", width_, norm_epsilon);
    output_ = &child<Linear>("output", width_, width_, normal);
    group_norm_ = &child<GroupNorm>("ln_x", width_, heads_, norm_epsilon);
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      const std::vector<Var> blends = lerped(x, context);  // w, k, v, r, g
      BiWkv6Inputs inputs;
      inputs.key = key_->forward(blends[1], context);
      inputs.value = value_->forward(blends[2], context);
      inputs.receptance = receptance_->forward(blends[3], context);
      inputs.decay =
          project(activation(Activation::tanh, project(blends[0], decay_w1_->var)), decay_w2_->var, decay_->var);
      inputs.bonus = bonus_->var;
      inputs.head_size = head_size_;
      if (context.probes != nullptr) {
        probe(context, "decay", inputs.decay);
        probe(context, "log_decay", scale(activation(Activation::exp, inputs.decay), -1));
      }
      Var y = bi_wkv6(inputs);
      probe(context, "wkv", y);
      if (key_norm_ != nullptr) y = key_norm_->forward(y, context);
      y = group_norm_->forward(y, context);
      Var out = output_->forward(gate(Activation::silu, gate_->forward(blends[4], context), y), context);
      probe(context, "out", out);
      return out;
    });
  }

  std::string summary() const override {
    return fmt::format("vision_rwkv6, {} heads of {}, token shift {}{}", heads_, head_size_, token_shift_,
                       key_norm_ != nullptr ? ", key norm" : "");
  }

 private:
  static constexpr std::int64_t blend_count = 5;

  Parameter& low_rank(const std::string& name, const Shape& shape) {
    return parameter(name, shape, initialise::uniform(-low_rank_limit, low_rank_limit), matrix_rules());
  }

  void add_mixes(const TimeMixParams& params, const MixerSite& site) {
    const double r = site.remaining();
    if (has_token_shift())
      maa_x_ = &parameter("time_maa_x", {1, 1, width_}, mix_ramp(width_, r, 1, -1), matrix_rules());
    for (const char letter : {'w', 'k', 'v', 'r', 'g'}) {
      const bool slow = letter == 'r' || letter == 'g';
      add_mix(std::string("time_maa_") + letter,
              mix_ramp(width_, slow ? 0.5 * r : r, letter == 'v' ? 1 - 0.3 * site.depth() : 1, -1));
    }
    if (!has_token_shift()) return;
    maa_w1_ = &low_rank("time_maa_w1", {width_, blend_count * params.mix_rank});
    maa_w2_ = &low_rank("time_maa_w2", {blend_count, params.mix_rank, width_});
  }

  // depth (1 - i / (width - 1)) + 0.1 (((i + 1) mod 3) - 1)
  Initialiser bonus_ramp(const MixerSite& site) const {
    const double depth = site.depth(), last = static_cast<double>(std::max<std::int64_t>(width_ - 1, 1));
    return initialise::from_index([=](std::int64_t i) {
      return depth * (1 - static_cast<double>(i) / last) + 0.1 * static_cast<double>((i + 1) % 3 - 1);
    });
  }

  std::vector<Var> lerped(const Var& x, const ForwardContext& context) {
    const TokenShift* const shift = token_shift(x, context);
    if (shift == nullptr) return std::vector<Var>(blend_count, x);
    const Var z = token_mix(x, {}, {maa_x_->var}, MixedToken::previous, shift)[0];
    const Var q = activation(Activation::tanh, project(z, maa_w1_->var));
    return token_lerp(x, {}, mix_values(), matmul(channel_groups(q, blend_count), maa_w2_->var), shift);
  }

  std::string token_shift_;
  Parameter *maa_x_ = nullptr, *maa_w1_ = nullptr, *maa_w2_ = nullptr;
  Parameter *decay_, *decay_w1_, *decay_w2_, *bonus_;
  Linear *receptance_, *key_, *value_, *gate_, *output_;
  LayerNorm* key_norm_ = nullptr;
  GroupNorm* group_norm_;
};

const RegisterKind<Mixer, TimeMixParams, MixerSite> time_mix("time_mix", "vision_rwkv6", describe_time_mix,
                                                             [](const TimeMixParams& params, const MixerSite& site) {
                                                               return std::make_unique<Vision6TimeMix>(params, site);
                                                             });

}  // namespace
}  // namespace rwkvlab
