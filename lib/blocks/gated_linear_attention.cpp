// Gated linear attention (Yang et al., "Gated Linear Attention Transformers with Hardware-Efficient Training",
// arXiv:2312.06635). Per head, with decays per key channel:
//
//   g = log σ(W_2 (W_1 x) + b) / gate_normalizer     W_1: [gate_rank, width], W_2: [heads · key_size, gate_rank]
//   S_t = S_{t-1} diag(e^{g_t}) + v_t k_tᵀ
//   y_t = key_size^(-1/2) S_t q_t
//   out = W_o (RMSNorm_head(y) ⊙ SiLU(W_g x))         W_g: [heads · value_size, width]
//
// Projections and state: blocks/linear_state_mixer.h. Initial values: N(0, 0.02²), biases 0.
#include <fmt/format.h>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/heads.h"
#include "blocks/linear_state_mixer.h"
#include "config/registry.h"

namespace rwkvlab {
namespace {

struct Params : LinearStateParams {
  std::string decay = "data_dependent";
  std::int64_t gate_rank = 16;
  double gate_normalizer = 16;
  bool normalization = true;
  double norm_epsilon = 1e-5;
  bool gate = true;
};

constexpr Expansion expansion = {0.5, 1};

void describe(Fields<Params>& f) {
  f.doc(
      "Gated linear attention: a matrix-valued state whose decay per key channel depends on the token, a norm per head "
      "and a gate.");
  f.paper("arXiv:2312.06635");
  describe_linear_state(f, expansion);
  f.add("decay", &Params::decay, "how the state forgets",
        one_of({{"data_dependent", "by a low-rank map of the token (gk_proj)"},
                {"learned", "by one number per key channel (gk)"},
                {"none", "never"}}));
  f.add("gate_rank", &Params::gate_rank, "rank of the map from the token to the decay", at_least(1)).unit("channels");
  f.add("gate_normalizer", &Params::gate_normalizer, "the decay is that root of a logistic function", above(0));
  f.add("normalization", &Params::normalization, "divide every head's output by its root mean square (g_norm)");
  f.add("norm_epsilon", &Params::norm_epsilon, "added to the mean square of a head", above(0));
  f.add("gate", &Params::gate, "gate the normalised output with SiLU of a projection (g_proj)");
}

class GatedLinearAttention final : public LinearStateMixer {
 public:
  GatedLinearAttention(const Params& params, const MixerSite& site)
      : LinearStateMixer(params, site, expansion), params_(params) {
    add_projections(small_normal, small_normal, value_size_);
    if (params.decay == "data_dependent") {
      decay_inner_ = &child<Linear>("gk_proj.0", width_, params.gate_rank, initialise::normal(0.02));
      decay_outer_ = &child<Linear>("gk_proj.1", params.gate_rank, key_channels(), initialise::normal(0.02), true);
    } else if (params.decay == "learned") {
      decay_ = &parameter("gk", {1, 1, key_channels()}, initialise::constant(0));
    }
    if (params.gate) gate_ = &child<Linear>("g_proj", width_, value_channels(), initialise::normal(0.02));
    if (params.normalization) {
      norm_ = &child<RmsNorm>("g_norm_swish_gate", value_size_, heads_, params.norm_epsilon);
    }
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      const Projected p = projected(x, context);
      Var y = recur({scale(p.query, query_scale()), log_decay(x, context), p.key, p.value, {}, {}}, context);
      if (norm_ != nullptr) y = norm_->forward(y, context);
      if (gate_ != nullptr) y = gate(Activation::silu, gate_->forward(x, context), y);
      return output(y, context);
    });
  }

  std::string summary() const override {
    return fmt::format("gated_linear_attention, {}, decay {}", sizes(), params_.decay);
  }

 private:
  Var log_decay(const Var& x, const ForwardContext& context) const {
    if (decay_ != nullptr) return repeat_rows(log_root(decay_->var), x.shape()[0], x.shape()[1]);
    if (decay_outer_ == nullptr) return {};
    return log_root(decay_outer_->forward(decay_inner_->forward(x, context), context));
  }
  // log σ(u) / c; log σ(u) = -softplus(-u)
  Var log_root(const Var& u) const {
    return scale(activation(Activation::softplus, scale(u, -1)), -1 / params_.gate_normalizer);
  }

  Params params_;
  Linear *decay_inner_ = nullptr, *decay_outer_ = nullptr, *gate_ = nullptr;
  Parameter* decay_ = nullptr;
  RmsNorm* norm_ = nullptr;
};

const RegisterKind<Mixer, Params, MixerSite> registered("time_mix", "gated_linear_attention", describe,
                                                        [](const Params& params, const MixerSite& site) {
                                                          return std::make_unique<GatedLinearAttention>(params, site);
                                                        });

}  // namespace
}  // namespace rwkvlab
