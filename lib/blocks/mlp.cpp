// Channel mixes of Transformers, which see one token alone, F = hidden_width:
//   gelu_mlp   out = W_v gelu(W_k x + b_k) + b_v, gelu(u) = u/2 (1 + tanh(sqrt(2/π) (u + 0.044715 u³)))
//              (Vaswani et al., arXiv:1706.03762, with the activation of Hendrycks, Gimpel, arXiv:1606.08415)
//   swiglu     out = W_v (silu(W_g x) ⊙ W_k x)  (Shazeer, arXiv:2002.05202)
//   none       out = 0: a layer is its time mix alone
// W_k (key), W_g (gate): [F, width]; W_v (value): [width, F]. No state.
#include <fmt/format.h>

#include "autograd/ops/elementwise.h"
#include "blocks/transformer_init.h"
#include "config/registry.h"
#include "nn/layers.h"

namespace rwkvlab {
namespace {

struct MlpParams {
  std::int64_t hidden_width = 0;
  double init_deviation = gpt2_deviation;
};
struct GeluMlpParams : MlpParams {
  bool bias = true;
};

template <class Params>
void describe_common(Fields<Params>& f, const char* hidden_width) {
  f.add("hidden_width", member_of<Params>(&MlpParams::hidden_width), hidden_width, at_least(0)).unit("channels");
  f.add("init_deviation", member_of<Params>(&MlpParams::init_deviation),
        "standard deviation of the initial projections (value's is divided by sqrt(2 layers))", at_least(0));
}

class GeluMlp final : public Mixer {
 public:
  GeluMlp(const GeluMlpParams& params, const MixerSite& site)
      : hidden_(params.hidden_width > 0 ? params.hidden_width : 4 * site.width),
        key_(child<Linear>("key", site.width, hidden_, initialise::normal(params.init_deviation), params.bias)),
        value_(child<Linear>("value", hidden_, site.width, branch_end(params.init_deviation, site), params.bias)) {}

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      const Var hidden = activation(Activation::gelu_tanh, key_.forward(x, context));
      Var out = value_.forward(hidden, context);
      probe(context, "out", out);
      return out;
    });
  }
  std::string summary() const override { return fmt::format("gelu_mlp, {} hidden channels", hidden_); }

 private:
  std::int64_t hidden_;
  Linear &key_, &value_;
};

// As many parameters as a gelu_mlp without biases, rounded up to a multiple of 8.
std::int64_t two_thirds_of_four(std::int64_t width) { return (8 * width / 3 + 7) / 8 * 8; }

class SwiGlu final : public Mixer {
 public:
  SwiGlu(const MlpParams& params, const MixerSite& site)
      : hidden_(params.hidden_width > 0 ? params.hidden_width : two_thirds_of_four(site.width)),
        gate_(child<Linear>("gate", site.width, hidden_, initialise::normal(params.init_deviation))),
        key_(child<Linear>("key", site.width, hidden_, initialise::normal(params.init_deviation))),
        value_(child<Linear>("value", hidden_, site.width, branch_end(params.init_deviation, site))) {}

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      const Var hidden = gate(Activation::silu, gate_.forward(x, context), key_.forward(x, context));
      Var out = value_.forward(hidden, context);
      probe(context, "out", out);
      return out;
    });
  }
  std::string summary() const override { return fmt::format("swiglu, {} hidden channels", hidden_); }

 private:
  std::int64_t hidden_;
  Linear &gate_, &key_, &value_;
};

struct NoParams {};

class NoChannelMix final : public Mixer {
 public:
  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] { return Var(Tensor::zeros(x.shape(), x.dtype())); });
  }
  bool adds_nothing() const override { return true; }
  std::string summary() const override { return "none"; }
};

const RegisterKind<Mixer, GeluMlpParams, MixerSite> gelu_mlp(
    "channel_mix", "gelu_mlp",
    [](Fields<GeluMlpParams>& f) {
      f.doc("The Transformer's MLP: two layers, between them GELU (arXiv:1606.08415) in the form with tanh.");
      f.paper("arXiv:1706.03762");
      describe_common(f, "channels of the hidden layer; 0: four times the model's width");
      f.add("bias", &GeluMlpParams::bias, "biases in both layers");
    },
    [](const GeluMlpParams& params, const MixerSite& site) { return std::make_unique<GeluMlp>(params, site); });
const RegisterKind<Mixer, MlpParams, MixerSite> swiglu(
    "channel_mix", "swiglu",
    [](Fields<MlpParams>& f) {
      f.doc("SwiGLU: two layers, the hidden one gated by SiLU of a third projection.");
      f.paper("arXiv:2002.05202");
      describe_common(f,
                      "channels of the hidden layer; 0: 8/3 of the model's width, rounded up to a multiple of 8, which "
                      "gives the parameters of gelu_mlp");
    },
    [](const MlpParams& params, const MixerSite& site) { return std::make_unique<SwiGlu>(params, site); });
const RegisterKind<Mixer, NoParams, MixerSite> none(
    "channel_mix", "none",
    [](Fields<NoParams>& f) { f.doc("No channel mix: the branch adds nothing and a layer is its time mix alone."); },
    [](const NoParams&, const MixerSite&) { return std::make_unique<NoChannelMix>(); });

}  // namespace
}  // namespace rwkvlab
