// Retention with a fixed decay (Sun et al., "Retentive Network: A Successor to Transformer for Large Language Models",
// arXiv:2307.08621), without its rotation of queries and keys. Per head h:
//   γ_h = 1 - 2^(-5-h)
//   S_t = γ_h S_{t-1} + v_t k_tᵀ    y_t = key_size^(-1/2) S_t q_t
//   out = W_o (GroupNorm_heads(y) ⊙ SiLU(W_g x))                           W_g: [heads · value_size, width]
// Projections and state: blocks/linear_state_mixer.h. Initial values: Xavier uniform, gain 2^(-5/2) but for W_o.
#include <fmt/format.h>

#include <cmath>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/heads.h"
#include "blocks/linear_state_mixer.h"
#include "config/registry.h"

namespace rwkvlab {
namespace {

struct Params : LinearStateParams {
  std::string decay = "fixed";
  bool group_norm = true;
  double norm_epsilon = 1e-5;
  bool gate = true;
};

constexpr Expansion expansion = {1, 2};

void describe(Fields<Params>& f) {
  f.doc(
      "Retention: a matrix-valued state with one fixed decay per head, a norm per head and a gate. The rotation of "
      "queries and keys by their position (xPos) in the paper is left out.");
  f.paper("arXiv:2307.08621");
  describe_linear_state(f, expansion);
  f.add("decay", &Params::decay, "how the state forgets",
        one_of({{"fixed", "a token leaves 1 - 2^(-5-h) of the state in head h = 0, 1, ..."}, {"none", "never"}}));
  f.add("group_norm", &Params::group_norm, "normalise the output per head (group_norm)");
  f.add("norm_epsilon", &Params::norm_epsilon, "added to the variance of a head", above(0));
  f.add("gate", &Params::gate, "gate the normalised output with SiLU of a projection (g_proj)");
}

Initialiser xavier(double gain, std::int64_t inputs, std::int64_t outputs) {
  const double limit = gain * std::sqrt(6 / static_cast<double>(inputs + outputs));
  return initialise::uniform(-limit, limit);
}
Initialiser first(std::int64_t inputs, std::int64_t outputs) { return xavier(std::exp2(-2.5), inputs, outputs); }
Initialiser last(std::int64_t inputs, std::int64_t outputs) { return xavier(1, inputs, outputs); }

class Retention final : public LinearStateMixer {
 public:
  Retention(const Params& params, const MixerSite& site)
      : LinearStateMixer(params, site, expansion), decays_(params.decay == "fixed") {
    add_projections(first, last, value_size_);
    if (params.gate) gate_ = &child<Linear>("g_proj", width_, value_channels(), first(width_, value_channels()));
    if (params.group_norm) norm_ = &child<GroupNorm>("group_norm", value_channels(), heads_, params.norm_epsilon);
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      const Projected p = projected(x, context);
      Var y = recur({scale(p.query, query_scale()), decays_ ? log_decay(x) : Var(), p.key, p.value, {}, {}}, context);
      if (norm_ != nullptr) y = norm_->forward(y, context);
      if (gate_ != nullptr) y = gate(Activation::silu, gate_->forward(x, context), y);
      return output(y, context);
    });
  }

  std::string summary() const override {
    return fmt::format("retention, {}, decay {}", sizes(), decays_ ? "fixed" : "none");
  }

 private:
  Var log_decay(const Var& x) const {
    const Tensor heads = Tensor::empty({1, heads_}, x.dtype());
    initialise::from_index([](std::int64_t h) { return std::log1p(-std::exp2(-5.0 - static_cast<double>(h))); })(
        heads, RandomStream(0, "decay"));
    return repeat_rows(repeat_heads(Var(heads), key_size_), x.shape()[0], x.shape()[1]);
  }

  bool decays_;
  Linear* gate_ = nullptr;
  GroupNorm* norm_ = nullptr;
};

const RegisterKind<Mixer, Params, MixerSite> registered("time_mix", "retention", describe,
                                                        [](const Params& params, const MixerSite& site) {
                                                          return std::make_unique<Retention>(params, site);
                                                        });

}  // namespace
}  // namespace rwkvlab
