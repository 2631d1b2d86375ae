// LSTM (Hochreiter, Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997; with forget gates) and GRU
// (Cho et al., arXiv:1406.1078) as time mixes: one layer, input and hidden state as wide as the model, D = width,
//   a_t = W_ih x_t + b_ih        r_t = W_hh h_{t-1} + b_hh        W: [4 D, D] or [3 D, D]
//   LSTM  i, f, o = σ(a + r)   g = tanh(a + r)   c_t = f ⊙ c_{t-1} + i ⊙ g   h_t = o ⊙ tanh(c_t)     blocks i, f, g, o
//   GRU   ρ, z = σ(a + r)   n = tanh(a_n + ρ ⊙ r_n)   h_t = (1 - z) ⊙ n + z ⊙ h_{t-1}                blocks ρ, z, n
//   out = h
// Parameters have the names of torch.nn.LSTM and torch.nn.GRU. State: hidden [D], and memory [D] of the LSTM.
#include <fmt/format.h>

#include <cmath>

#include "autograd/ops/linear.h"
#include "autograd/ops/recurrent.h"
#include "autograd/ops/token_shift.h"
#include "blocks/mixer.h"
#include "config/registry.h"
#include "nn/layers.h"

namespace rwkvlab {
namespace {

struct GruParams {};
struct LstmParams {
  double forget_bias = 1;
};

/// The four tensors of a recurrent layer with `blocks` gates.
class RecurrentMixer : public Mixer {
 public:
  RecurrentMixer(std::int64_t blocks, const MixerSite& site, double second_block_bias)
      : width_(site.width),
        weight_ih_(parameter("weight_ih_l0", {blocks * width_, width_}, initial(), matrix_rules())),
        weight_hh_(parameter("weight_hh_l0", {blocks * width_, width_}, initial(), matrix_rules())),
        bias_ih_(parameter("bias_ih_l0", {blocks * width_}, raised(second_block_bias))),
        bias_hh_(parameter("bias_hh_l0", {blocks * width_}, initial())) {
    state("hidden", {width_});
  }

 protected:
  Var input_products(const Var& x) const { return linear(x, weight_ih_.var, bias_ih_.var); }
  void carry(const ForwardContext& context, const char* name, const Var& values) const {
    if (wants_state(context)) write_state(context, name, last_token(values));
  }
  std::int64_t width_;
  Parameter &weight_ih_, &weight_hh_, &bias_ih_, &bias_hh_;

 private:
  // U(-1 / sqrt(D), 1 / sqrt(D)), as torch.nn has it.
  Initialiser initial() const {
    const double bound = 1 / std::sqrt(static_cast<double>(width_));
    return initialise::uniform(-bound, bound);
  }
  // The same with `amount` more in the second block of channels.
  Initialiser raised(double amount) const {
    return [amount, width = width_, uniform = initial()](const Tensor& into, const RandomStream& random) {
      uniform(into, random);
      for_real(into.dtype(), [&]<class Real>(Real) {
        for (std::int64_t i = width; i < 2 * width; ++i) into.data<Real>()[i] += static_cast<Real>(amount);
      });
    };
  }
};

class Lstm final : public RecurrentMixer {
 public:
  Lstm(const LstmParams& params, const MixerSite& site) : RecurrentMixer(4, site, params.forget_bias) {
    state("memory", {width_});
  }
  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      const LstmResult result = lstm(input_products(x), weight_hh_.var, bias_hh_.var, read_state(context, "hidden"),
                                     read_state(context, "memory"));
      carry(context, "hidden", result.y);
      carry(context, "memory", result.memories);
      probe(context, "memory", result.memories);
      probe(context, "out", result.y);
      return result.y;
    });
  }
  std::string summary() const override { return fmt::format("lstm, {} channels", width_); }
};

class Gru final : public RecurrentMixer {
 public:
  Gru(const GruParams&, const MixerSite& site) : RecurrentMixer(3, site, 0) {}
  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      Var y = gru(input_products(x), weight_hh_.var, bias_hh_.var, read_state(context, "hidden"));
      carry(context, "hidden", y);
      probe(context, "out", y);
      return y;
    });
  }
  std::string summary() const override { return fmt::format("gru, {} channels", width_); }
};

const RegisterKind<Mixer, LstmParams, MixerSite> lstm_kind(
    "time_mix", "lstm",
    [](Fields<LstmParams>& f) {
      f.doc("LSTM: a memory cell per channel with input, forget and output gates; one step after the other.");
      f.paper("doi:10.1162/neco.1997.9.8.1735");
      f.add("forget_bias", &LstmParams::forget_bias,
            "added to the initial bias of the forget gate (arXiv:1602.02410 and others; 0 as in torch.nn)");
    },
    [](const LstmParams& params, const MixerSite& site) { return std::make_unique<Lstm>(params, site); });
const RegisterKind<Mixer, GruParams, MixerSite> gru_kind(
    "time_mix", "gru",
    [](Fields<GruParams>& f) {
      f.doc("GRU: a hidden state per channel with reset and update gates; one step after the other.");
      f.paper("arXiv:1406.1078");
    },
    [](const GruParams& params, const MixerSite& site) { return std::make_unique<Gru>(params, site); });

}  // namespace
}  // namespace rwkvlab
