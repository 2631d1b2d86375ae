#include "blocks/receptance_channel_mix.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/ops/elementwise.h"
#include "blocks/shifted_mixer.h"
#include "blocks/token_step.h"
#include "config/registry.h"
#include "nn/layers.h"

namespace rwkvlab {
namespace {

using Params = ReceptanceChannelMixParams;

const char* name_of(ChannelMixVersion version) {
  return version == ChannelMixVersion::rwkv4 ? "rwkv4" : version == ChannelMixVersion::rwkv5 ? "rwkv5" : "rwkv6";
}

// The first version has four times the width; the later ones 3.5 times, a multiple of 32, because their gate adds
// parameters to the time mix.
std::int64_t hidden_width(const Params& params, std::int64_t width, ChannelMixVersion version) {
  if (params.hidden_width > 0) return params.hidden_width;
  return version == ChannelMixVersion::rwkv4 ? 4 * width : std::max<std::int64_t>(width * 7 / 2 / 32 * 32, 32);
}

Activation activation_named(const std::string& name) {
  if (name == "relu") return Activation::relu;
  if (name == "gelu") return Activation::gelu;
  if (name == "silu") return Activation::silu;
  return Activation::squared_relu;
}

class ReceptanceChannelMix final : public ShiftedMixer {
 public:
  ReceptanceChannelMix(const Params& params, const MixerSite& site, ChannelMixVersion version)
      : ShiftedMixer(site, params.token_shift,
                     version == ChannelMixVersion::rwkv6 ? MixedToken::previous : MixedToken::current),
        version_(version),
        hidden_(hidden_width(params, site.width, version)),
        activation_(activation_named(params.activation)) {
    add_named_mix("k", site);
    if (params.receptance) add_named_mix("r", site);
    key_ = &child<Linear>("key", width_, hidden_, rwkv_orthogonal(width_, hidden_));
    if (params.receptance) receptance_ = &child<Linear>("receptance", width_, width_, initialise::constant(0));
    value_ = &child<Linear>("value", hidden_, width_, initialise::constant(0));
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      if (const StoredWeights* const weights = receptance_ != nullptr ? weights_for_step(x, context) : nullptr) {
        const auto* const stored = step_rows_.find(*weights, {key_, receptance_, value_});
        if (stored != nullptr) return step(*stored, x, context);
      }
      if (receptance_ != nullptr) survey_step_order({key_, receptance_, value_});
      const std::vector<Var> blends = shifted(x, context);
      Var out = value_->forward_hidden(*key_, activation_, blends[0], context);
      if (receptance_ != nullptr) out = gate(Activation::sigmoid, receptance_->forward(blends[1], context), out);
      probe(context, "out", out);
      return out;
    });
  }

  /// One token of generation (blocks/token_step.h), with what is stored of key, receptance and value.
  Var step(const std::array<kernels::StoredRows, 3>& stored, const Var& x, const ForwardContext& context) const {
    const std::int64_t sequences = x.shape()[0], hidden = sequences * hidden_, count = sequences * width_;
    StepMemory memory(blend_lines(sequences) + StepMemory::lines(hidden) + StepMemory::lines(count));
    const std::vector<const float*> blends = step_blends(x, context, memory);
    float *const k = memory.take(hidden), *const r = memory.take(count);
    const kernels::RowProduct products[] = {{stored[0], blends[0], k}, {stored[1], blends[1], r}};
    kernels::row_products(products, sequences);
    kernels::activation_forward<float>(activation_, hidden, k, k);
    const Tensor out = Tensor::empty(x.shape());
    kernels::row_product(stored[2], sequences, k, out.data<float>());
    kernels::gate_forward<float>(Activation::sigmoid, count, r, out.data<float>(), out.data<float>());
    return Var(out);
  }

  std::string summary() const override { return fmt::format("{}, {} hidden channels", name_of(version_), hidden_); }

 private:
  // RWKV-6 weighs the previous token, and by the third power of the depth.
  void add_named_mix(const std::string& letter, const MixerSite& site) {
    const double r = site.remaining();
    if (version_ == ChannelMixVersion::rwkv6) {
      add_mix("time_maa_" + letter, mix_ramp(width_, r * r * r, 1, -1));
    } else {
      add_mix("time_mix_" + letter, mix_ramp(width_, r));
    }
  }

  ChannelMixVersion version_;
  std::int64_t hidden_;
  Activation activation_;
  StepRows<3> step_rows_;
  Linear *key_ = nullptr, *receptance_ = nullptr, *value_ = nullptr;
};

}  // namespace

void describe_receptance_channel_mix(Fields<Params>& f, ChannelMixVersion version) {
  const bool first = version == ChannelMixVersion::rwkv4;
  f.doc(fmt::format("RWKV-{} channel mix: a two-layer network with squared ReLU, gated by the receptance.",
                    name_of(version) + 4));
  f.paper(first ? "arXiv:2305.13048" : "arXiv:2404.05892");
  f.add("hidden_width", &Params::hidden_width,
        first ? "channels of the hidden layer; 0: four times the model's width"
              : "channels of the hidden layer; 0: 3.5 times the model's width, rounded down to a multiple of 32",
        at_least(0))
      .unit("channels");
  f.add("token_shift", &Params::token_shift,
        "blend every token with its predecessor; false: the projections see x itself");
  f.add("receptance", &Params::receptance, "gate the output by the sigmoid of the receptance");
  f.add("activation", &Params::activation, "activation of the hidden layer",
        one_of({"squared_relu", "relu", "gelu", "silu"}));
}

std::unique_ptr<Mixer> make_receptance_channel_mix(const Params& params, const MixerSite& site,
                                                   ChannelMixVersion version) {
  return std::make_unique<ReceptanceChannelMix>(params, site, version);
}

}  // namespace rwkvlab
