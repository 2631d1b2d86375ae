// RWKV-5 "Eagle" (Peng et al., "Eagle and Finch: RWKV with Matrix-Valued States and Dynamic Recurrence",
// arXiv:2404.05892) and its previews 5.0 and 5.1.
//
// Token shift: mix(x, m) = x ⊙ m + xs ⊙ (1 - m), xs_t = x_{t-1}, xs_0 the carried token or 0.
//
// Time mix (`att`), A = attention_width:
//   r = W_r mix(x, m_r)    k = W_k mix(x, m_k)    v = W_v mix(x, m_v)    g = SiLU(W_g mix(x, m_g))     all [A, width]
//   z = GroupNorm(WKV(r, k, v; time_decay, u) / 8)                                 blocks/matrix_state_mixer.h
//   out = W_o (z ⊙ g)                                                              W_o: [width, A]
// 5.2 has a decay and a bonus u = time_faaaa per channel; 5.1 one of each per head; 5.0 also no gate, and either
// u = time_faaaa or u = exp(time_first).
//
// Channel mix (`ffn`): blocks/receptance_channel_mix.h.
#include <fmt/format.h>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/token_lerp.h"
#include "blocks/matrix_state_mixer.h"
#include "blocks/receptance_channel_mix.h"
#include "config/registry.h"

namespace rwkvlab {
namespace {

struct TimeMixParams : MatrixStateParams {
  bool token_shift = true;
  std::string decay = "per_channel";
  std::string bonus = "per_channel";
  std::string gate = "silu";
};

void describe_time_mix(Fields<TimeMixParams>& f) {
  using P = TimeMixParams;
  f.doc(
      "RWKV-5 time mix: heads with a matrix-valued state and a learned decay. The defaults are 5.2 (Eagle); 5.1 has "
      "decay and bonus per_head; 5.0 also bonus per_head_exponential and gate none.");
  f.paper("arXiv:2404.05892");
  describe_matrix_state(f);
  f.add("token_shift", &P::token_shift, "blend every token with its predecessor; false: the projections see x itself");
  f.add("decay", &P::decay, "how the state forgets",
        one_of({{"per_channel", "learned per key channel"},
                {"per_head", "learned per head"},
                {"fixed", "the initial ramp over the channels, not learned"},
                {"none", "never"}}));
  f.add("bonus", &P::bonus, "weight of the current token",
        one_of({{"per_channel", "time_faaaa, per key channel"},
                {"per_head", "time_faaaa, per head"},
                {"per_head_exponential", "exp(time_first), per head"}}));
  f.add("gate", &P::gate, "gate of the normalised output",
        one_of({{"silu", "SiLU of a projection"}, {"none", "no gate"}}));
}

class Rwkv5TimeMix final : public MatrixStateMixer {
 public:
  Rwkv5TimeMix(const TimeMixParams& params, const MixerSite& site)
      : MatrixStateMixer(params, site, params.token_shift, MixedToken::current), params_(params), site_(site) {
    const double slow = 0.5 * site.remaining();
    add_mix("time_mix_k", mix_ramp(width_, site.remaining()));
    add_mix("time_mix_v", mix_ramp(width_, site.remaining(), 0.3 * site.depth()));
    add_mix("time_mix_r", mix_ramp(width_, slow));
    if (params.gate == "silu") add_mix("time_mix_g", mix_ramp(width_, slow));
    add_decay();
    add_bonus();
    add_projections(params, site);
    if (params.gate == "silu") {
      gate_ = &child<Linear>("gate", width_, attention_, rwkv_orthogonal(width_, attention_, 0.1));
    }
    state("wkv", {heads_, head_size_, head_size_});
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      std::vector<const Linear*> layers = {key_, value_, receptance_};
      if (gate_ != nullptr) layers.push_back(gate_);
      const std::vector<Var> projections = projected(x, layers, context);
      Wkv6Inputs inputs;
      inputs.key = projections[0];
      inputs.value = projections[1];
      inputs.receptance = projections[2];
      inputs.decay = decay_ == nullptr ? constant_decay(x, attention_, site_, params_.decay == "fixed")
                                       : per_channel(decay_->var, params_.decay);
      inputs.bonus = params_.bonus == "per_head_exponential"
                         ? repeat_elements(activation(Activation::exp, bonus_->var), head_size_)
                         : per_channel(bonus_->var, params_.bonus);
      Var z = attend(inputs, {}, context);
      if (gate_ != nullptr) z = gate(Activation::silu, projections[3], z);
      Var out = output_->forward(z, context);
      probe(context, "out", out);
      return out;
    });
  }

  std::string summary() const override {
    return fmt::format("rwkv5, {} heads of {}, decay {}, bonus {}, gate {}", heads_, head_size_, params_.decay,
                       params_.bonus, params_.gate);
  }

 private:
  void add_decay() {
    if (params_.decay == "per_channel") {
      decay_ = &parameter("time_decay", {heads_, head_size_}, decay_ramp(attention_, site_), decay_rules);
    } else if (params_.decay == "per_head") {
      decay_ = &parameter("time_decay", {heads_}, decay_ramp(heads_, site_), decay_rules);
    }
  }

  void add_bonus() {
    if (params_.bonus == "per_channel") {
      bonus_ = &parameter("time_faaaa", {heads_, head_size_}, bonus_ramp(attention_, site_, 0.1), mix_rules);
    } else if (params_.bonus == "per_head") {
      bonus_ = &parameter("time_faaaa", {heads_}, bonus_ramp(heads_, site_, 0), mix_rules);
    } else {
      bonus_ = &parameter("time_first", {heads_}, initialise::constant(-3), bonus_rules);
    }
  }

  Var per_channel(const Var& values, const std::string& form) const {
    return form == "per_channel" ? values : repeat_elements(values, head_size_);
  }

  TimeMixParams params_;
  MixerSite site_;
  Parameter *decay_ = nullptr, *bonus_ = nullptr;
  Linear* gate_ = nullptr;
};

const RegisterKind<Mixer, TimeMixParams, MixerSite> time_mix("time_mix", "rwkv5", describe_time_mix,
                                                             [](const TimeMixParams& params, const MixerSite& site) {
                                                               return std::make_unique<Rwkv5TimeMix>(params, site);
                                                             });
const RegisterKind<Mixer, ReceptanceChannelMixParams, MixerSite> channel_mix(
    "channel_mix", "rwkv5",
    [](Fields<ReceptanceChannelMixParams>& f) { describe_receptance_channel_mix(f, ChannelMixVersion::rwkv5); },
    [](const ReceptanceChannelMixParams& params, const MixerSite& site) {
      return make_receptance_channel_mix(params, site, ChannelMixVersion::rwkv5);
    });

}  // namespace
}  // namespace rwkvlab
