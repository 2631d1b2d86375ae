// RWKV-6 "Finch" (Peng et al., "Eagle and Finch: RWKV with Matrix-Valued States and Dynamic Recurrence",
// arXiv:2404.05892; the official code's x060, x060a, x060b and x060c).
//
// Time mix (`att`), A = attention_width, δ_t = x_{t-1} - x_t (x_{-1}: the carried token or 0), i in {w, k, v, r, g}:
//   z = x + δ ⊙ maa_x;  q = tanh(z W1) in parts q_i of `mix_rank` channels;  x_i = x + δ ⊙ (maa_i + q_i W2_i)
//   r = W_r x_r    k = W_k x_k    v = W_v x_v    g = SiLU(W_g x_g)                 W_r, W_k, W_v, W_g: [A, width]
//   decay = time_decay + tanh(x_w D1) D2                                           of rank `decay_rank`
//   z = GroupNorm(WKV(r, k, v; decay, time_faaaa))                                 blocks/matrix_state_mixer.h
//   out = W_o (z ⊙ g)                                                              W_o: [width, A]
// Low-rank matrices are stored [in, out]. Every part can be left out or made simpler; without a gate there are the
// mixes r, k, v, w alone, and their low-rank matrices are called time_maa_rkvw_w1 and _w2, as in x060b. gate "low_rank"
// (x060a): g = tanh(x_g G1) G2.
//
// Channel mix (`ffn`): blocks/receptance_channel_mix.h, mixes time_maa_k and time_maa_r.
#include <fmt/format.h>

#include <algorithm>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/matmul.h"
#include "autograd/ops/token_lerp.h"
#include "blocks/matrix_state_mixer.h"
#include "blocks/receptance_channel_mix.h"
#include "config/registry.h"

namespace rwkvlab {
namespace {

struct TimeMixParams : MatrixStateParams {
  std::string token_shift = "data_dependent";
  std::int64_t mix_rank = 32;
  std::string decay = "data_dependent";
  std::int64_t decay_rank = 64;
  std::string gate = "silu";
  std::int64_t gate_rank = 64;
  std::string key_scale = "none";
  bool learned_state = false;
};

std::string check_time_mix(const TimeMixParams& params) {
  return params.key_scale != "none" && params.decay == "none"
             ? fmt::format("key_scale {} without a decay makes every key 0: choose a decay, or key_scale none",
                           params.key_scale)
             : "";
}

void describe_time_mix(Fields<TimeMixParams>& f) {
  using P = TimeMixParams;
  f.doc(
      "RWKV-6 time mix: heads with a matrix-valued state, whose decay and token shift depend on the token through "
      "low-rank maps.");
  f.paper("arXiv:2404.05892");
  describe_matrix_state(f);
  f.add("token_shift", &P::token_shift, "what the projections see",
        one_of({{"data_dependent", "a blend of token and predecessor whose weights depend on both"},
                {"static", "a blend with learned weights"},
                {"none", "the token itself"}}));
  f.add("mix_rank", &P::mix_rank,
        "rank of the blends' dependence on the data (official models: 32; 64 from 7B parameters on)", at_least(1));
  f.add("decay", &P::decay, "how the state forgets",
        one_of({{"data_dependent", "learned per channel, with a low-rank correction per token"},
                {"learned", "learned per channel"},
                {"fixed", "the initial ramp over the channels, not learned"},
                {"none", "never"}}));
  f.add("decay_rank", &P::decay_rank,
        "rank of the decay's dependence on the data (official models: 64; 128 from 7B parameters on)", at_least(1));
  f.add("gate", &P::gate, "gate of the normalised output",
        one_of({{"silu", "SiLU of a projection"},
                {"low_rank", "a low-rank map with tanh inside (x060a)"},
                {"none", "no gate (x060b)"}}));
  f.add("gate_rank", &P::gate_rank, "rank of the low-rank gate", at_least(1));
  f.add("key_scale", &P::key_scale, "factor on the key, from the decay w = exp(-exp(decay))",
        one_of({{"none", "1"},
                {"forgotten", "1 - w: what is written is what was forgotten (x060c)"},
                {"limited", "exp(min(decay, 0)): against loss spikes"}}));
  f.add("learned_state", &P::learned_state, "learn the state that every sequence starts from (time_state)");
  f.check(check_time_mix, "key_scale");
}

constexpr ParameterRules low_rank_rules = {};

class Rwkv6TimeMix final : public MatrixStateMixer {
 public:
  Rwkv6TimeMix(const TimeMixParams& params, const MixerSite& site)
      : MatrixStateMixer(params, site, params.token_shift != "none", MixedToken::previous),
        params_(params),
        site_(site),
        letters_(mixed(params)) {
    add_mixes();
    if (params.decay == "data_dependent" || params.decay == "learned") {
      time_decay_ = &parameter("time_decay", {1, 1, attention_}, decay_ramp(attention_, site), decay_rules);
    }
    if (params.decay == "data_dependent") {
      decay_w1_ = &low_rank("time_decay_w1", {width_, params.decay_rank}, 0);
      decay_w2_ = &low_rank("time_decay_w2", {params.decay_rank, attention_}, small);
    }
    bonus_ = &parameter("time_faaaa", {heads_, head_size_}, bonus_ramp(attention_, site, 0.1), mix_rules);
    add_projections(params, site);
    if (params.gate == "silu") {
      gate_ = &child<Linear>("gate", width_, attention_, rwkv_orthogonal(width_, attention_, 0.1));
    } else if (params.gate == "low_rank") {
      gate_w1_ = &low_rank("gate_w1", {width_, params.gate_rank}, small);
      gate_w2_ = &low_rank("gate_w2", {params.gate_rank, attention_}, small);
    }
    add_state();
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      const std::vector<Var> blends =
          params_.token_shift == "data_dependent" ? lerped(x, context) : shifted(x, context);
      const auto blend = [&](char letter) { return blends[letters_.find(letter)]; };
      Wkv6Inputs inputs;
      inputs.receptance = receptance_->forward(blend('r'), context);
      inputs.value = value_->forward(blend('v'), context);
      inputs.decay = params_.decay == "data_dependent" ? token_decay(blend('w'))
                     : params_.decay == "learned"      ? time_decay_->var
                                                       : constant_decay(x, attention_, site_, params_.decay == "fixed");
      inputs.key = scaled_key(key_->forward(blend('k'), context), inputs.decay);
      inputs.bonus = bonus_->var;
      const Var start = time_state_ != nullptr ? shared_initial_state(time_state_->var, x.shape()[0]) : Var();
      Var z = attend(inputs, start, context);
      if (gate_ != nullptr) z = gate(Activation::silu, gate_->forward(blend('g'), context), z);
      if (gate_w1_ != nullptr) z = multiply(low_rank_map(blend('g'), *gate_w1_, *gate_w2_), z);
      Var out = output_->forward(z, context);
      probe(context, "out", out);
      return out;
    });
  }

  std::string summary() const override {
    return fmt::format("rwkv6, {} heads of {}, token shift {}, decay {}, gate {}", heads_, head_size_,
                       params_.token_shift, params_.decay, params_.gate);
  }

 private:
  static constexpr double small = 0.01;

  // The blends in their official order.
  static std::string mixed(const TimeMixParams& params) {
    std::string letters = params.gate == "none" ? "rkvw" : "wkvrg";
    if (params.decay != "data_dependent") letters.erase(letters.find('w'), 1);
    return letters;
  }

  // U(-limit, limit)
  Parameter& low_rank(const std::string& name, const Shape& shape, double limit) {
    return parameter(name, shape, limit > 0 ? initialise::uniform(-limit, limit) : initialise::constant(0),
                     low_rank_rules);
  }

  void add_mixes() {
    const double r = site_.remaining();
    for (const char letter : letters_) {
      const bool slow = letter == 'r' || letter == 'g';
      add_mix(std::string("time_maa_") + letter,
              mix_ramp(width_, slow ? 0.5 * r : r, letter == 'v' ? 1 - 0.3 * site_.depth() : 1, -1));
    }
    if (params_.token_shift != "data_dependent") return;
    maa_x_ = &parameter("time_maa_x", {1, 1, width_}, mix_ramp(width_, r, 1, -1), mix_rules);
    const std::string name = letters_ == "rkvw" ? "time_maa_rkvw" : "time_maa";
    const auto count = static_cast<std::int64_t>(letters_.size());
    maa_w1_ = &low_rank(name + "_w1", {width_, count * params_.mix_rank}, 0);
    maa_w2_ = &low_rank(name + "_w2", {count, params_.mix_rank, width_}, small);
  }

  void add_state() {
    const Shape shape = {heads_, head_size_, head_size_};
    if (!params_.learned_state) return state("wkv", shape);
    time_state_ = &parameter("time_state", shape, initialise::constant(0), matrix_rules());
    learned_state("wkv", shape, [this](std::int64_t batch) { return shared_initial_state(time_state_->var, batch); });
  }

  std::vector<Var> lerped(const Var& x, const ForwardContext& context) const {
    const Var previous = carried(context);
    const Var z = token_mix(x, previous, {maa_x_->var}, MixedToken::previous, context.token_shift)[0];
    const Var q = activation(Activation::tanh, project(z, maa_w1_->var));
    const Var corrections = matmul(channel_groups(q, static_cast<std::int64_t>(letters_.size())), maa_w2_->var);
    carry(x, context);
    return token_lerp(x, previous, mix_values(), corrections, context.token_shift);
  }

  static Var low_rank_map(const Var& x, const Parameter& first, const Parameter& second, const Var& bias = {}) {
    return project(activation(Activation::tanh, project(x, first.var)), second.var, bias);
  }

  Var token_decay(const Var& x) const { return low_rank_map(x, *decay_w1_, *decay_w2_, time_decay_->var); }

  // The decay may be one for all tokens, the key is not.
  Var scaled_key(const Var& key, const Var& decay) const {
    if (params_.key_scale == "none") return key;
    const Var raw = decay.shape() == key.shape() ? decay : for_every_token(decay, key);
    if (params_.key_scale == "limited") {
      const Var limited = scale(activation(Activation::relu, scale(raw, -1)), -1);  // min(decay, 0)
      return gate(Activation::exp, limited, key);
    }
    const Var kept = gate(Activation::exp, scale(activation(Activation::exp, raw), -1), key);  // w k
    return add(key, scale(kept, -1));
  }

  // decay [channels] as [batch, time, channels].
  static Var for_every_token(const Var& decay, const Var& like) {
    const Var ones(Tensor::full({like.shape()[0], like.shape()[1], 1}, 1, like.dtype()));
    return project(ones, Var(Tensor::zeros({1, like.shape()[2]}, like.dtype())), decay);
  }

  TimeMixParams params_;
  MixerSite site_;
  std::string letters_;
  Parameter *time_decay_ = nullptr, *decay_w1_ = nullptr, *decay_w2_ = nullptr, *bonus_ = nullptr;
  Parameter *maa_x_ = nullptr, *maa_w1_ = nullptr, *maa_w2_ = nullptr;
  Parameter *gate_w1_ = nullptr, *gate_w2_ = nullptr, *time_state_ = nullptr;
  Linear* gate_ = nullptr;
};

const RegisterKind<Mixer, TimeMixParams, MixerSite> time_mix("time_mix", "rwkv6", describe_time_mix,
                                                             [](const TimeMixParams& params, const MixerSite& site) {
                                                               return std::make_unique<Rwkv6TimeMix>(params, site);
                                                             });
const RegisterKind<Mixer, ReceptanceChannelMixParams, MixerSite> channel_mix(
    "channel_mix", "rwkv6",
    [](Fields<ReceptanceChannelMixParams>& f) { describe_receptance_channel_mix(f, ChannelMixVersion::rwkv6); },
    [](const ReceptanceChannelMixParams& params, const MixerSite& site) {
      return make_receptance_channel_mix(params, site, ChannelMixVersion::rwkv6);
    });

}  // namespace
}  // namespace rwkvlab
