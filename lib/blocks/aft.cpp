// Attention-free transformer (Zhai et al., arXiv:2105.14103), causal, A = attention_width:
//   q = W_q x    k = W_k x    v = W_v x                                         [A, width]
//   y_t = Σ_{i<=t} e^{k_i + w_ti} v_i / Σ_{i<=t} e^{k_i + w_ti}                 per channel
//   out = W_o (σ(q) ⊙ y)                                                       [width, A]
// aft_full: w = position_bias [max_length, max_length], shared by the channels. aft_simple: w = 0, so y is the operator
// of RWKV-4 without decay and bonus. The paper prescribes no output projection; it is here as in attention.
//
// State: of aft_full key and value [tokens so far, A], which grow with every token; of aft_simple wkv [3, A] (rows a,
// b, p as in RWKV-4).
#include <fmt/format.h>

#include "autograd/ops/aft.h"
#include "autograd/ops/causal_attention.h"
#include "autograd/ops/elementwise.h"
#include "base/error.h"
#include "blocks/transformer_init.h"
#include "config/registry.h"
#include "kernels/wkv4.h"
#include "nn/layers.h"

namespace rwkvlab {
namespace {

struct SimpleParams {
  std::int64_t attention_width = 0;
  double init_deviation = gpt2_deviation;
};

struct FullParams : SimpleParams {
  std::int64_t max_length = 1024;
};

template <class Params>
void describe_common(Fields<Params>& f) {
  f.paper("arXiv:2105.14103");
  f.add("attention_width", member_of<Params>(&SimpleParams::attention_width),
        "channels of query, key and value; 0: the model's width", at_least(0))
      .unit("channels");
  f.add("init_deviation", member_of<Params>(&SimpleParams::init_deviation),
        "standard deviation of the initial projections (the output's is divided by sqrt(2 layers))", at_least(0));
}

void describe_simple(Fields<SimpleParams>& f) {
  f.doc("AFT-simple: per channel, a mean of all past values weighted by key, gated by the query.");
  describe_common(f);
}

void describe_full(Fields<FullParams>& f) {
  f.doc(
      "AFT-full: per channel, a mean of all past values weighted by key and a learned bias for every pair of "
      "positions, gated by the query. Its time grows with the square of the context, channel by channel.");
  describe_common(f);
  f.add("max_length", &FullParams::max_length, "the longest sequence: the side of the matrix of biases",
        between(1, 8192))
      .unit("tokens");
}

class Aft : public Mixer {
 public:
  Aft(const SimpleParams& params, const MixerSite& site)
      : attention_(params.attention_width > 0 ? params.attention_width : site.width) {
    const Initialiser initial = initialise::normal(params.init_deviation);
    query_ = &child<Linear>("query", site.width, attention_, initial);
    key_ = &child<Linear>("key", site.width, attention_, initial);
    value_ = &child<Linear>("value", site.width, attention_, initial);
    output_ = &child<Linear>("output", attention_, site.width, branch_end(params.init_deviation, site));
  }

  Var forward(const Var& x, const ForwardContext& context) final {
    return in_module(*this, context, [&] {
      const Var q = query_->forward(x, context);
      const Var y = mean(key_->forward(x, context), value_->forward(x, context), context);
      probe(context, "mean", y);
      Var out = output_->forward(gate(Activation::sigmoid, q, y), context);
      probe(context, "out", out);
      return out;
    });
  }

 protected:
  virtual Var mean(const Var& k, const Var& v, const ForwardContext& context) const = 0;
  std::int64_t attention_;

 private:
  Linear *query_, *key_, *value_, *output_;
};

class AftSimple final : public Aft {
 public:
  AftSimple(const SimpleParams& params, const MixerSite& site) : Aft(params, site) {
    state("wkv", {3, attention_}, {0, 0, kernels::empty_state_exponent});
  }
  std::string summary() const override { return fmt::format("aft_simple, {} channels", attention_); }

 private:
  Var mean(const Var& k, const Var& v, const ForwardContext& context) const override {
    const Wkv4Result result = aft_simple(k, v, read_state(context, "wkv"), wants_state(context));
    write_state(context, "wkv", result.final_state);
    return result.y;
  }
};

class AftFull final : public Aft {
 public:
  AftFull(const FullParams& params, const MixerSite& site)
      : Aft(params, site),
        length_(params.max_length),
        bias_(parameter("position_bias", {length_, length_}, initialise::normal(0.01), matrix_rules())) {
    state("key", {0, attention_});
    state("value", {0, attention_});
  }
  std::string summary() const override {
    return fmt::format("aft_full, {} channels, up to {} tokens", attention_, length_);
  }

 private:
  Var mean(const Var& k, const Var& v, const ForwardContext& context) const override {
    const Var keys = append_tokens(read_state(context, "key"), k),
              values = append_tokens(read_state(context, "value"), v);
    if (keys.shape()[1] > length_) {
      throw ShapeError(fmt::format("a sequence of {} tokens has position biases for {} only; raise time_mix.max_length",
                                   keys.shape()[1], length_));
    }
    write_state(context, "key", keys);
    write_state(context, "value", values);
    return aft(bias_.var, keys, values, k.shape()[1]);
  }

  std::int64_t length_;
  Parameter& bias_;
};

template <class Block, class Params>
std::unique_ptr<Mixer> build(const Params& params, const MixerSite& site) {
  return std::make_unique<Block>(params, site);
}

const RegisterKind<Mixer, SimpleParams, MixerSite> simple("time_mix", "aft_simple", describe_simple,
                                                          build<AftSimple, SimpleParams>);
const RegisterKind<Mixer, FullParams, MixerSite> full("time_mix", "aft_full", describe_full,
                                                      build<AftFull, FullParams>);

}  // namespace
}  // namespace rwkvlab
