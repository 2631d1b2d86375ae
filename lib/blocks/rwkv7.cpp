// Time mix of RWKV-7 "Goose" (Peng et al., "RWKV-7 'Goose' with Expressive Dynamic State Evolution", arXiv:2503.14456).
//
// Token shift: x_j = x + (xs - x) ⊙ m_j, xs_t = x_{t-1}, xs_0 the carried token or 0: m_j weighs the previous token.
//
// With D = width, N = head_size, H = D / N; the adapters' matrices are stored as [in, out]:
//   r = W_r x_r          k = W_k x_k          v = W_v x_v                                   W: [D, D]
//   log w = -e^{-1/2} σ(w0 + tanh(x_w w1) w2)                                              decay in (0.545, 1)
//   v = v + (v_first - v) ⊙ σ(v0 + (x_v v1) v2)   v_first: v of the first layer, which itself has no such residual
//   a = rate_limit σ(a0 + (x_a a1) a2)                                                      in-context learning rate
//   g = σ(x_g g1) g2                                                                        gate
//   κ = (k ⊙ k_k) / |k ⊙ k_k| per head;  k = k ⊙ (1 + (a - 1) ⊙ k_a)
//   S_t = S_{t-1} (diag(w_t) - κ_t (κ_t ⊙ a_t)ᵀ) + v_t k_tᵀ;  y_t = S_t r_t per head        autograd/ops/wkv7.h
//   y = GroupNorm_H(y; ln_x) + (Σ_head r ⊙ k ⊙ r_k) v;  out = W_o (y ⊙ g)
// Every option takes a part away or makes it simpler, so that its worth can be measured.
//
// State: x [D] (the last input) and wkv [H, N, N] (value channel first). rwkv7_channel_mix.cpp has the channel mix.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/heads.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/wkv7.h"
#include "base/error.h"
#include "blocks/rwkv7_initial.h"
#include "blocks/rwkv7_step.h"
#include "blocks/shifted_mixer.h"
#include "config/registry.h"
#include "nn/layers.h"
#include "nn/overwritten_state.h"

namespace rwkvlab {
namespace {

// -e^{-1/2}: the logarithm of the fastest decay.
const double fastest_log_decay = -std::exp(-0.5);

struct TimeMixParams {
  std::int64_t head_size = 0;
  std::string rank_rule = "current";
  std::int64_t decay_rank = 0, rate_rank = 0, value_rank = 0, gate_rank = 0;
  bool token_shift = true;
  std::string decay = "data_dependent";
  bool decay_per_head = false;
  bool delta_rule = true;
  std::string rate = "data_dependent";
  bool rate_per_head = false;
  double rate_limit = 1;
  bool key_scale = true;
  std::string key_boost = "learned";
  bool bonus = true;
  bool value_residual = true;
  bool value_residual_in_first_layer = false;
  bool gate = true;
  bool group_norm = true;
  double group_norm_epsilon = 64e-5;
};

void describe_adapters(Fields<TimeMixParams>& f) {
  using P = TimeMixParams;
  f.add("rank_rule", &P::rank_rule, "ranks that are left at 0, from the model's width D, in whole multiples of 32",
        one_of({{"current", "of the current training code: decay and rate 2.5 √D, value 1.7 √D, gate 5 √D"},
                {"first", "of the code that trained the released models: 1.8 √D, 1.3 √D and 0.6 D^0.8"}}));
  const auto rank = [&f](const char* key, std::int64_t P::*member, const char* text) {
    f.add(key, member, text, at_least(0)).unit("channels");
  };
  rank("decay_rank", &P::decay_rank, "rank of the decay's adapter (w1, w2); 0: by rank_rule");
  rank("rate_rank", &P::rate_rank, "rank of the in-context learning rate's adapter (a1, a2); 0: by rank_rule");
  rank("value_rank", &P::value_rank, "rank of the value residual's adapter (v1, v2); 0: by rank_rule");
  rank("gate_rank", &P::gate_rank, "rank of the gate (g1, g2); 0: by rank_rule");
}

void describe_time_mix(Fields<TimeMixParams>& f) {
  using P = TimeMixParams;
  f.doc(
      "RWKV-7 time mix: a matrix-valued state per head that every token decays per channel and corrects by a delta "
      "rule with a learning rate of its own.");
  f.paper("arXiv:2503.14456");
  f.add("head_size", &P::head_size, "channels per head; 0: 64, or the model's width where that is smaller", at_least(0))
      .unit("channels");
  describe_adapters(f);
  f.add("token_shift", &P::token_shift, "blend every token with its predecessor; false: the projections see x itself");
  f.add("decay", &P::decay, "how the decay comes about",
        one_of({{"data_dependent", "computed from every token"},
                {"learned", "a parameter per channel (w0)"},
                {"fixed", "a constant per channel, the initial value of w0"},
                {"none", "the state does not decay"}}));
  f.add("decay_per_head", &P::decay_per_head, "one decay for all channels of a head");
  f.add("delta_rule", &P::delta_rule, "replace what is stored under a key; false: only decay and add");
  f.add("rate", &P::rate, "how the in-context learning rate comes about",
        one_of({{"data_dependent", "computed from every token"},
                {"learned", "a parameter per channel (a0)"},
                {"none", "1 everywhere"}}));
  f.add("rate_per_head", &P::rate_per_head, "one in-context learning rate for all channels of a head");
  f.add("rate_limit", &P::rate_limit,
        "upper bound of the in-context learning rate; above 1 the state's transition has negative eigenvalues",
        above(0) && at_most(2));
  f.add("key_scale", &P::key_scale, "scale the removal key per channel (k_k) before it is normalised");
  f.add("key_boost", &P::key_boost, "how much the in-context learning rate scales the key that is written (k_a)",
        one_of({{"learned", "a parameter per channel"}, {"full", "k_a = 1"}, {"none", "k_a = 0"}}));
  f.add("bonus", &P::bonus, "an extra weight of the current token (r_k)");
  f.add("value_residual", &P::value_residual, "mix the first layer's value into the later layers' (v0, v1, v2)");
  f.add("value_residual_in_first_layer", &P::value_residual_in_first_layer,
        "declare v0, v1 and v2 in the first layer too, which does not use them; the official training code does, the "
        "released models do not");
  f.add("gate", &P::gate, "gate the output (g1, g2)");
  f.add("group_norm", &P::group_norm, "normalise the output per head (ln_x)");
  f.add("group_norm_epsilon", &P::group_norm_epsilon, "added to the variance of a head", above(0));
}

class Rwkv7TimeMix final : public ShiftedMixer {
 public:
  Rwkv7TimeMix(const TimeMixParams& params, const MixerSite& site)
      : ShiftedMixer(site, params.token_shift, MixedToken::previous),
        p_(params),
        head_size_(params.head_size > 0 ? params.head_size : std::min<std::int64_t>(64, site.width)),
        heads_(site.width / head_size_),
        ranks_(rwkv7_ranks({p_.decay_rank, p_.rate_rank, p_.value_rank, p_.gate_rank}, p_.rank_rule == "first",
                           site.width)),
        depth_(site.depth()) {
    if (site.width % head_size_ != 0) {
      throw ConfigError(
          fmt::format("time_mix.head_size is {}, which does not divide the width {}; expected a divisor, "
                      "such as {}",
                      head_size_, site.width, nearest_divisor(site.width, head_size_)));
    }
    add_mixes(site);
    add_adapters(site);
    add_vectors();
    state("wkv", {heads_, head_size_, head_size_});
    receptance_ = &child<Linear>("receptance", width_, width_, initialise::orthogonal(1));
    key_ = &child<Linear>("key", width_, width_, initialise::orthogonal(0.1));
    value_ = &child<Linear>("value", width_, width_, initialise::orthogonal(1));
    output_ = &child<Linear>("output", width_, width_, initialise::constant(0));
    if (p_.group_norm) {
      const double scale = static_cast<double>(1 + site.layer) / static_cast<double>(site.layers);
      norm_ =
          &child<GroupNorm>("ln_x", width_, heads_, p_.group_norm_epsilon, initialise::constant(std::pow(scale, 0.7)));
    }
    if (has_all_parts()) step_.emplace(parts());
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      if (step_) {
        const StoredWeights* const weights = weights_for_step(x, context);
        if (weights != nullptr && step_->find(*weights)) return step(x, context);
        if (StoredWeights::Survey* const survey = StoredWeights::Survey::current()) step_->survey(*survey);
      }
      const std::vector<Var> blends = shifted(x, context);
      const Var r = receptance_->forward(blends[mix_r_], context);
      const Var v = mixed_value(blends[mix_v_], context);
      const DeltaKeys keys = make_keys(key_->forward(blends[mix_k_], context), blends, context);
      Wkv7Inputs inputs = {r, log_decay(x, blends), keys.key, v, keys.removal, keys.replacement};
      probe(context, "log_decay", inputs.log_decay);
      const Wkv7Result wkv = wkv7(inputs, read_state(context, "wkv"), heads_, wants_state(context));
      write_state(context, "wkv", wkv.final_state);
      probe(context, "wkv", wkv.y);
      Var y = norm_ != nullptr ? norm_->forward(wkv.y, context) : wkv.y;
      if (bonus_ != nullptr) y = head_bonus(y, r, keys.key, v, bonus_->var, heads_);
      if (gate_.first != nullptr) {
        y = multiply(y, gate_.outer(activation(Activation::sigmoid, gate_.inner(blends[mix_g_]))));
      }
      y = output_->forward(y, context);
      probe(context, "out", y);
      return y;
    });
  }

  std::string summary() const override { return fmt::format("rwkv7, {} heads of {}", heads_, head_size_); }

 private:
  static std::int64_t nearest_divisor(std::int64_t width, std::int64_t wanted) {
    std::int64_t best = 1;
    for (std::int64_t d = 1; d <= width; ++d) {
      if (width % d == 0 && std::abs(d - wanted) < std::abs(best - wanted)) best = d;
    }
    return best;
  }

  bool uses_rate() const { return p_.rate != "none" && (p_.delta_rule || p_.key_boost != "none"); }

  // 1 - (i / D)^(power (1 - l / L)) for every projection, in the order in which `shifted` returns them.
  void add_mixes(const MixerSite& site) {
    std::size_t count = 0;
    const auto add = [&](const char* name, double power) {
      add_mix(name, mix_ramp(width_, power * site.remaining(), 1, -1), plain_rules);
      return count++;
    };
    mix_r_ = add("x_r", 0.2);
    if (p_.decay == "data_dependent") mix_w_ = add("x_w", 0.9);
    mix_k_ = add("x_k", 0.7);
    mix_v_ = add("x_v", 0.7);
    if (uses_rate() && p_.rate == "data_dependent") mix_a_ = add("x_a", 0.9);
    if (p_.gate) mix_g_ = add("x_g", 0.2);
  }

  Rwkv7Adapter adapter(const std::string& name, std::int64_t rank, std::int64_t outputs) {
    Rwkv7Adapter result;
    result.first = &parameter(name + "1", {width_, rank}, initialise::constant(0));
    result.second = &parameter(name + "2", {rank, outputs}, rwkv_orthogonal(outputs, rank, 0.1));
    return result;
  }

  // -6 + 6 ramp^(1 + depth^0.3) + 0.5 + 2.5 zigzag: slow decays in early channels.
  Initialiser initial_decay() const {
    const Rwkv7Ramps ramps{width_, head_size_, p_.decay_per_head};
    const double power = 1 + std::pow(depth_, 0.3);
    return initialise::from_index(
        [=](std::int64_t i) { return -5.5 + 6 * std::pow(ramps.ramp(i), power) + 2.5 * ramps.zigzag(i); });
  }

  void add_adapters(const MixerSite& site) {
    const std::int64_t decays = p_.decay_per_head ? heads_ : width_, rates = p_.rate_per_head ? heads_ : width_;
    if (p_.decay == "data_dependent") decay_ = adapter("w", ranks_.decay, decays);
    if (p_.decay == "data_dependent" || p_.decay == "learned") {
      decay_.offset = &parameter("w0", {1, 1, decays}, initial_decay(), decay_rules);
    }
    if (uses_rate()) {
      const Rwkv7Ramps ramps{width_, head_size_, p_.rate_per_head};
      if (p_.rate == "data_dependent") rate_ = adapter("a", ranks_.rate, rates);
      rate_.offset = &parameter("a0", {1, 1, rates}, initialise::from_index([=](std::int64_t i) {
                                  return -0.19 + 0.3 * ramps.zigzag(i) + 0.4 * ramps.line(i);
                                }));
    }
    if (p_.value_residual && (site.layer > 0 || p_.value_residual_in_first_layer)) {
      const Rwkv7Ramps ramps{width_, head_size_, false};
      value_gate_ = adapter("v", ranks_.value, width_);
      value_gate_.offset = &parameter(
          "v0", {1, 1, width_}, initialise::from_index([=](std::int64_t i) { return 0.73 - 0.4 * ramps.line(i); }));
      mixes_value_ = site.layer > 0;
    }
    if (p_.gate) gate_ = adapter("g", ranks_.gate, width_);
  }

  void add_vectors() {
    const Rwkv7Ramps ramps{width_, head_size_, false};
    if (p_.delta_rule && p_.key_scale) {
      key_scale_ = &parameter("k_k", {1, 1, width_},
                              initialise::from_index([=](std::int64_t i) { return 0.71 - 0.1 * ramps.line(i); }));
    }
    if (uses_rate() && p_.key_boost == "learned") {
      key_boost_ = &parameter("k_a", {1, 1, width_}, initialise::constant(1.02));
    }
    if (p_.bonus) bonus_ = &parameter("r_k", {heads_, head_size_}, initialise::constant(-0.04));
  }

  Var repeated(const Var& vector, bool per_head, const Var& like) const {
    return repeat_rows(per_head ? repeat_heads(vector, head_size_) : vector, like.shape()[0], like.shape()[1]);
  }

  Var log_decay(const Var& x, const std::vector<Var>& blends) const {
    if (p_.decay == "none") return Var(Tensor::zeros(x.shape(), x.dtype()));
    const auto from_logits = [](const Var& d) { return scale(activation(Activation::sigmoid, d), fastest_log_decay); };
    if (p_.decay == "data_dependent") {
      const Var d = from_logits(decay_.outer(activation(Activation::tanh, decay_.inner(blends[mix_w_]))));
      return p_.decay_per_head ? repeat_heads(d, head_size_) : d;
    }
    if (p_.decay == "learned") return repeated(from_logits(decay_.offset->var), p_.decay_per_head, x);
    const Tensor constant = Tensor::empty({1, 1, p_.decay_per_head ? heads_ : width_}, x.dtype());
    initial_decay()(constant, RandomStream(0, "unused"));
    return repeated(from_logits(Var(constant)), p_.decay_per_head, x);
  }

  // The in-context learning rate.
  Var rate(const Var& k, const std::vector<Var>& blends) const {
    const bool adapts = p_.rate == "data_dependent";
    Var a = activation(Activation::sigmoid, adapts ? rate_.outer(rate_.inner(blends[mix_a_])) : rate_.offset->var);
    if (p_.rate_limit != 1) a = scale(a, p_.rate_limit);
    if (!adapts) return repeated(a, p_.rate_per_head, k);
    return p_.rate_per_head ? repeat_heads(a, head_size_) : a;
  }

  DeltaKeys make_keys(const Var& k, const std::vector<Var>& blends, const ForwardContext& context) const {
    const auto constant = [&](double value) { return Var(Tensor::full({width_}, value, k.dtype())); };
    if (!p_.delta_rule && !uses_rate()) return {Var(), Var(), k};
    const Var a = uses_rate() ? rate(k, blends) : Var(Tensor::full(k.shape(), 1, k.dtype()));
    probe(context, "rate", a);
    const Var boost = key_boost_ != nullptr ? key_boost_->var : constant(p_.key_boost == "full" ? 1 : 0);
    DeltaKeys keys = delta_keys(k, a, key_scale_ != nullptr ? key_scale_->var : constant(1), boost, heads_);
    if (!p_.delta_rule) keys.removal = keys.replacement = Var();
    return keys;
  }

  // The first layer leaves its value for the others. A layer that finds none, alone or in a stack whose first layers
  // are of other kinds, is the first.
  Var mixed_value(const Var& x, const ForwardContext& context) const {
    Var v = value_->forward(x, context);
    if (!p_.value_residual) return v;
    Var first = v;
    if (context.shared != nullptr) {
      if (!context.shared->first_value.defined()) context.shared->first_value = v;
      first = context.shared->first_value;
    }
    if (!mixes_value_) return v;
    const Var weight = activation(Activation::sigmoid, value_gate_.outer(value_gate_.inner(x)));
    probe(context, "value_residual", weight);
    return lerp(v, first, weight);
  }

  // Whether a step (rwkv7_step.h) can stand in for forward().
  bool has_all_parts() const {
    return p_.delta_rule && decay_.first != nullptr && rate_.first != nullptr && gate_.first != nullptr &&
           key_scale_ != nullptr && key_boost_ != nullptr && bonus_ != nullptr && norm_ != nullptr &&
           !p_.decay_per_head && !p_.rate_per_head;
  }

  Rwkv7Parts parts() const {
    Rwkv7Parts all;
    all.heads = heads_, all.head_size = head_size_;
    all.fastest_log_decay = fastest_log_decay, all.rate_limit = p_.rate_limit, all.epsilon = p_.group_norm_epsilon;
    all.receptance = receptance_, all.key = key_, all.value = value_, all.output = output_;
    all.decay = decay_, all.rate = rate_, all.gate = gate_;
    if (mixes_value_) all.value_gate = value_gate_;
    all.key_scale = key_scale_, all.key_boost = key_boost_, all.bonus = bonus_, all.norm = norm_;
    return all;
  }

  // One token of generation.
  Var step(const Var& x, const ForwardContext& context) const {
    const std::int64_t sequences = x.shape()[0];
    StepMemory memory(blend_lines(sequences) + step_->lines(sequences));
    const std::vector<const float*> blends = step_blends(x, context, memory);
    const bool shares_value = p_.value_residual && context.shared != nullptr;
    const Var first_value = shares_value ? context.shared->first_value : Var();
    const Tensor value = Tensor::empty(x.shape()), out = Tensor::empty(x.shape());
    // Before anybody here holds the state, which would keep it from being overwritten.
    const Tensor next = next_state(context, path() + ".wkv");
    const Var state = read_state(context, "wkv");
    Rwkv7Token token;
    token.sequences = sequences;
    token.receptance = blends[mix_r_], token.key = blends[mix_k_], token.value = blends[mix_v_];
    token.decay = blends[mix_w_], token.rate = blends[mix_a_], token.gate = blends[mix_g_];
    if (first_value.defined()) token.first_value = first_value.value().data<float>();
    token.state = state.value().data<float>(), token.next_state = next.data<float>();
    token.own_value = value.data<float>(), token.y = out.data<float>();
    step_->run(token, memory);
    write_state(context, "wkv", Var(next));
    if (shares_value && !first_value.defined()) context.shared->first_value = Var(value);
    return Var(out);
  }

  TimeMixParams p_;
  std::int64_t head_size_, heads_;
  Rwkv7Ranks ranks_;
  double depth_;
  std::size_t mix_r_ = 0, mix_w_ = 0, mix_k_ = 0, mix_v_ = 0, mix_a_ = 0, mix_g_ = 0;
  Rwkv7Adapter decay_, rate_, value_gate_, gate_;
  bool mixes_value_ = false;
  Parameter *key_scale_ = nullptr, *key_boost_ = nullptr, *bonus_ = nullptr;
  Linear *receptance_, *key_, *value_, *output_;
  GroupNorm* norm_ = nullptr;
  std::optional<Rwkv7Step> step_;
};

const RegisterKind<Mixer, TimeMixParams, MixerSite> time_mix("time_mix", "rwkv7", describe_time_mix,
                                                             [](const TimeMixParams& params, const MixerSite& site) {
                                                               return std::make_unique<Rwkv7TimeMix>(params, site);
                                                             });

}  // namespace
}  // namespace rwkvlab
