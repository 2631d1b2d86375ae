// Channel mix of RWKV-7 "Goose" (Peng et al., arXiv:2503.14456), D = width, F = hidden_width:
//   x_k = x + (xs - x) ⊙ m, xs_t = x_{t-1}, xs_0 the carried token or 0
//   out = W_v max(W_k x_k, 0)²                                   W_k: [F, D], W_v: [D, F]
// State: x [D], the last input.
#include <fmt/format.h>

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "blocks/shifted_mixer.h"
#include "blocks/token_step.h"
#include "config/registry.h"
#include "nn/layers.h"

namespace rwkvlab {
namespace {

struct ChannelMixParams {
  std::int64_t hidden_width = 0;
  bool token_shift = true;
};

void describe_channel_mix(Fields<ChannelMixParams>& f) {
  f.doc("RWKV-7 channel mix: a two-layer network with squared ReLU, without a gate.");
  f.paper("arXiv:2503.14456");
  f.add("hidden_width", &ChannelMixParams::hidden_width,
        "channels of the hidden layer; 0: four times the model's width", at_least(0))
      .unit("channels");
  f.add("token_shift", &ChannelMixParams::token_shift,
        "blend every token with its predecessor; false: the projections see x itself");
}

class Rwkv7ChannelMix final : public ShiftedMixer {
 public:
  Rwkv7ChannelMix(const ChannelMixParams& params, const MixerSite& site)
      : ShiftedMixer(site, params.token_shift, MixedToken::previous),
        hidden_(params.hidden_width > 0 ? params.hidden_width : 4 * site.width) {
    add_mix("x_k", mix_ramp(width_, std::pow(site.remaining(), 4), 1, -1), plain_rules);
    key_ = &child<Linear>("key", width_, hidden_, initialise::orthogonal(1));
    value_ = &child<Linear>("value", hidden_, width_, initialise::constant(0));
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      if (const StoredWeights* const weights = weights_for_step(x, context)) {
        const auto* const stored = step_rows_.find(*weights, {key_, value_});
        if (stored != nullptr) return step(*stored, x, context);
      }
      Var out = value_->forward_hidden(*key_, Activation::squared_relu, shifted(x, context)[0], context);
      probe(context, "out", out);
      return out;
    });
  }

  /// One token of generation (blocks/token_step.h), with what is stored of key and value.
  Var step(const std::array<kernels::StoredRows, 2>& stored, const Var& x, const ForwardContext& context) const {
    const std::int64_t sequences = x.shape()[0], hidden = sequences * hidden_;
    StepMemory memory(blend_lines(sequences) + StepMemory::lines(hidden));
    const float* const blend = step_blends(x, context, memory)[0];
    float* const k = memory.take(hidden);
    kernels::row_product(stored[0], sequences, blend, k);
    kernels::activation_forward<float>(Activation::squared_relu, hidden, k, k);
    const Tensor out = Tensor::empty(x.shape());
    kernels::row_product(stored[1], sequences, k, out.data<float>());
    return Var(out);
  }

  std::string summary() const override { return fmt::format("rwkv7, {} hidden channels", hidden_); }

 private:
  std::int64_t hidden_;
  StepRows<2> step_rows_;
  Linear *key_, *value_;
};

const RegisterKind<Mixer, ChannelMixParams, MixerSite> channel_mix(
    "channel_mix", "rwkv7", describe_channel_mix, [](const ChannelMixParams& params, const MixerSite& site) {
      return std::make_unique<Rwkv7ChannelMix>(params, site);
    });

}  // namespace
}  // namespace rwkvlab
