// RWKV-4 "Dove" (Peng et al., "RWKV: Reinventing RNNs for the Transformer Era", arXiv:2305.13048).
//
// Token shift: mix(x, m) = x ⊙ m + xs ⊙ (1 - m), xs_t = x_{t-1}, xs_0 the carried token or 0.
//
// Time mix (`att`), A = attention_width:
//   r = W_r mix(x, m_r)    k = W_k mix(x, m_k)    v = W_v mix(x, m_v)            W_r, W_k, W_v: [A, width]
//   y = WKV(k, v; time_decay, time_first)                                          autograd/ops/wkv4.h
//   out = W_o (σ(r) ⊙ y)                                                         W_o: [width, A]
// with small_attention = d > 0 ("RWKV-4b"), in addition
//   q = W_qq mix(x, m_qq)   κ = W_kk mix(x, m_kk)   ν = W_vv mix(x, m_vv)        [d, width]
//   out += W_oo (softmax_causal(q κᵀ / sqrt(d)) ν)                               W_oo: [width, d]
//
// Channel mix (`ffn`): blocks/receptance_channel_mix.h. Channel mix "mish_glu", F = hidden_width:
//   out = W_v ((W_aa mix(x, m_k)) ⊙ mish(W_bb mix(x, m_r)))      W_aa, W_bb: [F, width], W_v: [width, F]
//
// State of the time mix: x [width] (the last input) and wkv [3, A] (rows a, b, p); of the channel mix: x [width].
#include <fmt/format.h>

#include <cmath>

#include "autograd/ops/attention.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/matmul.h"
#include "autograd/ops/wkv4.h"
#include "blocks/receptance_channel_mix.h"
#include "blocks/shifted_mixer.h"
#include "blocks/token_step.h"
#include "config/registry.h"
#include "kernels/wkv4.h"
#include "kernels/wkv4_step.h"
#include "nn/layers.h"
#include "nn/overwritten_state.h"

namespace rwkvlab {
namespace {

struct TimeMixParams {
  std::int64_t attention_width = 0;
  std::int64_t small_attention = 0;
  bool token_shift = true;
};

void describe_time_mix(Fields<TimeMixParams>& f) {
  f.doc(
      "RWKV-4 time mix: per channel, a mean of past values weighted by key and a learned decay, gated by the "
      "receptance.");
  f.paper("arXiv:2305.13048");
  f.add("attention_width", &TimeMixParams::attention_width,
        "channels of key, value and receptance; 0: the model's width", at_least(0))
      .unit("channels");
  f.add("small_attention", &TimeMixParams::small_attention,
        "width of an additional softmax attention (RWKV-4b; the official models have width / 16); 0: none", at_least(0))
      .unit("channels");
  f.add("token_shift", &TimeMixParams::token_shift,
        "blend every token with its predecessor; false: the projections see x itself");
}

class Rwkv4TimeMix final : public ShiftedMixer {
 public:
  Rwkv4TimeMix(const TimeMixParams& params, const MixerSite& site)
      : ShiftedMixer(site, params.token_shift),
        attention_(params.attention_width > 0 ? params.attention_width : site.width),
        small_(params.small_attention),
        time_decay_(parameter("time_decay", {attention_}, decay_ramp(site), decay_rules)),
        time_first_(parameter("time_first", {attention_}, bonus_zigzag(), bonus_rules)) {
    add_mix("time_mix_k", mix_ramp(width_, site.remaining()));
    add_mix("time_mix_v", mix_ramp(width_, site.remaining(), 0.3 * site.depth()));
    add_mix("time_mix_r", mix_ramp(width_, 0.5 * site.remaining()));
    state("wkv", {3, attention_}, {0, 0, kernels::empty_state_exponent});
    const Initialiser zero = initialise::constant(0);
    key_ = &child<Linear>("key", width_, attention_, zero);
    value_ = &child<Linear>("value", width_, attention_, rwkv_orthogonal(width_, attention_));
    receptance_ = &child<Linear>("receptance", width_, attention_, zero);
    output_ = &child<Linear>("output", attention_, width_, zero);
    if (small_ > 0) add_small_attention(site);
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      if (const StoredWeights* const weights = small_ == 0 ? weights_for_step(x, context) : nullptr) {
        const auto* const stored = step_rows_.find(*weights, {key_, value_, receptance_, output_});
        if (stored != nullptr) return step(*stored, x, context);
      }
      const std::vector<const Linear*> layers = {key_, value_, receptance_};
      const std::vector<Var> blends = small_ > 0 ? shifted(x, context) : std::vector<Var>();
      const std::vector<Var> projections =
          small_ > 0 ? forward_each(layers, blends, context) : projected(x, layers, context);
      const Var &k = projections[0], &v = projections[1], &r = projections[2];
      const Wkv4Result wkv =
          wkv4(time_decay_.var, time_first_.var, k, v, read_state(context, "wkv"), wants_state(context));
      write_state(context, "wkv", wkv.final_state);
      probe(context, "wkv", wkv.y);
      Var out = output_->forward(gate(Activation::sigmoid, r, wkv.y), context);
      if (small_ > 0) out = add(out, small_attention(blends, context));
      probe(context, "out", out);
      return out;
    });
  }

  /// One token of generation (blocks/token_step.h), with what is stored of key, value, receptance and output.
  Var step(const std::array<kernels::StoredRows, 4>& stored, const Var& x, const ForwardContext& context) const {
    const std::int64_t sequences = x.shape()[0], count = sequences * attention_;
    StepMemory memory(blend_lines(sequences) + 4 * StepMemory::lines(count));
    const std::vector<const float*> blends = step_blends(x, context, memory);
    float *const k = memory.take(count), *const v = memory.take(count), *const r = memory.take(count),
                 *const y = memory.take(count);
    const kernels::RowProduct products[] = {
        {stored[0], blends[0], k}, {stored[1], blends[1], v}, {stored[2], blends[2], r}};
    kernels::row_products(products, sequences);
    const Tensor next = next_state(context, path() + ".wkv");
    const Var state = read_state(context, "wkv");
    kernels::wkv4_step({{sequences, 1, attention_},
                        time_decay_.var.value().data<float>(),
                        time_first_.var.value().data<float>(),
                        k,
                        v,
                        state.value().data<float>(),
                        y,
                        next.data<float>()});
    write_state(context, "wkv", Var(next));
    kernels::gate_forward<float>(Activation::sigmoid, count, r, y, y);
    const Tensor out = Tensor::empty(x.shape());
    kernels::row_product(stored[3], sequences, y, out.data<float>());
    return Var(out);
  }

  std::string summary() const override {
    return fmt::format("rwkv4, {} channels{}", attention_,
                       small_ > 0 ? fmt::format(", small attention {}", small_) : "");
  }

 private:
  // -5 + 8 (c / (A - 1))^(0.7 + 1.3 depth): slow decays in early channels, fast ones in late channels.
  Initialiser decay_ramp(const MixerSite& site) const {
    const double last = static_cast<double>(std::max<std::int64_t>(attention_ - 1, 1)),
                 power = 0.7 + 1.3 * site.depth();
    return initialise::from_index(
        [=](std::int64_t c) { return -5 + 8 * std::pow(static_cast<double>(c) / last, power); });
  }

  // ln 0.3 + 0.5 (((c + 1) mod 3) - 1)
  static Initialiser bonus_zigzag() {
    return initialise::from_index(
        [](std::int64_t c) { return std::log(0.3) + 0.5 * static_cast<double>((c + 1) % 3 - 1); });
  }

  void add_small_attention(const MixerSite& site) {
    add_mix("time_mix_qq", mix_ramp(width_, site.remaining()));
    add_mix("time_mix_kk", mix_ramp(width_, site.remaining()));
    add_mix("time_mix_vv", mix_ramp(width_, site.remaining(), 0.3 * site.depth()));
    small_query_ = &child<Linear>("qq", width_, small_, rwkv_orthogonal(width_, small_));
    small_key_ = &child<Linear>("kk", width_, small_, rwkv_orthogonal(width_, small_));
    small_value_ = &child<Linear>("vv", width_, small_, rwkv_orthogonal(width_, small_));
    small_output_ = &child<Linear>("oo", small_, width_, initialise::constant(0));
  }

  Var small_attention(const std::vector<Var>& blends, const ForwardContext& context) const {
    if (context.state_in != nullptr || context.state_out != nullptr) {
      throw ShapeError("small_attention sees the whole sequence at once and cannot carry a state");
    }
    const Var scores =
        matmul(small_query_->forward(blends[3], context), small_key_->forward(blends[4], context), false, true);
    const Var weights = causal_softmax(scores, 1.0 / std::sqrt(static_cast<double>(small_)));
    return small_output_->forward(matmul(weights, small_value_->forward(blends[5], context)), context);
  }

  std::int64_t attention_, small_;
  StepRows<4> step_rows_;
  Parameter& time_decay_;
  Parameter& time_first_;
  Linear *key_, *value_, *receptance_, *output_;
  Linear *small_query_ = nullptr, *small_key_ = nullptr, *small_value_ = nullptr, *small_output_ = nullptr;
};

struct MishGluParams {
  std::int64_t hidden_width = 0;
  bool token_shift = true;
};

void describe_mish_glu(Fields<MishGluParams>& f) {
  f.doc(
      "MishGLU channel mix of the RWKV-4 code: value(a ⊙ mish(b)) with two token-shifted projections and no "
      "receptance.");
  f.paper("arXiv:1908.08681");
  f.add("hidden_width", &MishGluParams::hidden_width, "channels of the hidden layer; 0: four times the model's width",
        at_least(0))
      .unit("channels");
  f.add("token_shift", &MishGluParams::token_shift,
        "blend every token with its predecessor; false: the projections see x itself");
}

class MishGlu final : public ShiftedMixer {
 public:
  MishGlu(const MishGluParams& params, const MixerSite& site)
      : ShiftedMixer(site, params.token_shift),
        hidden_(params.hidden_width > 0 ? params.hidden_width : 4 * site.width) {
    add_mix("time_mix_k", mix_ramp(width_, site.remaining()));
    add_mix("time_mix_r", mix_ramp(width_, site.remaining()));
    aa_ = &child<Linear>("aa", width_, hidden_, rwkv_orthogonal(width_, hidden_));
    bb_ = &child<Linear>("bb", width_, hidden_, rwkv_orthogonal(width_, hidden_));
    value_ = &child<Linear>("value", hidden_, width_, initialise::constant(0));
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      const std::vector<Var> blends = shifted(x, context);
      const Var a = aa_->forward(blends[0], context);
      const Var b = bb_->forward(blends[1], context);
      Var out = value_->forward(gate(Activation::mish, b, a), context);
      probe(context, "out", out);
      return out;
    });
  }

  std::string summary() const override { return fmt::format("mish_glu, {} hidden channels", hidden_); }

 private:
  std::int64_t hidden_;
  Linear *aa_, *bb_, *value_;
};

template <class Block, class Params>
std::unique_ptr<Mixer> build(const Params& params, const MixerSite& site) {
  return std::make_unique<Block>(params, site);
}

const RegisterKind<Mixer, TimeMixParams, MixerSite> time_mix("time_mix", "rwkv4", describe_time_mix,
                                                             build<Rwkv4TimeMix, TimeMixParams>);
const RegisterKind<Mixer, ReceptanceChannelMixParams, MixerSite> channel_mix(
    "channel_mix", "rwkv4",
    [](Fields<ReceptanceChannelMixParams>& f) { describe_receptance_channel_mix(f, ChannelMixVersion::rwkv4); },
    [](const ReceptanceChannelMixParams& params, const MixerSite& site) {
      return make_receptance_channel_mix(params, site, ChannelMixVersion::rwkv4);
    });
const RegisterKind<Mixer, MishGluParams, MixerSite> mish_glu("channel_mix", "mish_glu", describe_mish_glu,
                                                             build<MishGlu, MishGluParams>);

}  // namespace
}  // namespace rwkvlab
