// The delta rule (Yang et al., "Parallelizing Linear Transformers with the Delta Rule over Sequence Length",
// arXiv:2406.06484). q, k and v go through SiLU, with a convolution before it. Per head:
//   q̂ = q / sqrt(Σ q² + ε)    k̂ = k / sqrt(Σ k² + ε)    β = σ(W_b x), or twice that       ε = 1e-6, W_b: [heads, width]
//   S_t = S_{t-1} + β_t (v_t - S_{t-1} k̂_t) k̂_tᵀ       y_t = key_size^(-1/2) S_t q̂_t
//   out = W_o RMSNorm_head(y), or W_o (RMSNorm_head(y) ⊙ SiLU(W_g x))
// Projections and state: blocks/linear_state_mixer.h. Initial values: N(0, 0.02²).
#include <fmt/format.h>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/heads.h"
#include "autograd/ops/rms_norm.h"
#include "blocks/linear_state_mixer.h"
#include "config/registry.h"

namespace rwkvlab {
namespace {

struct Params : LinearStateParams {
  Params() { convolution = 4; }
  bool write_strength = true;
  bool negative_eigenvalues = false;
  bool normalization = true;
  double norm_epsilon = 1e-5;
  bool gate = false;
};

constexpr Expansion expansion = {1, 1};
constexpr double key_epsilon = 1e-6;

void describe(Fields<Params>& f) {
  f.doc("Delta rule: a matrix-valued state in which every token replaces what is stored under its key.");
  f.paper("arXiv:2406.06484");
  describe_linear_state(f, expansion);
  f.add("write_strength", &Params::write_strength,
        "how much of the stored value is replaced depends on the token (b_proj); false: all of it");
  f.add("negative_eigenvalues", &Params::negative_eigenvalues,
        "let the write strength reach 2, so that the state's transition has eigenvalues from -1 to 1");
  f.add("normalization", &Params::normalization, "divide every head's output by its root mean square (o_norm)");
  f.add("norm_epsilon", &Params::norm_epsilon, "added to the mean square of a head", above(0));
  f.add("gate", &Params::gate, "gate the normalised output with SiLU of a projection (g_proj)");
}

class DeltaRule final : public LinearStateMixer {
 public:
  DeltaRule(const Params& params, const MixerSite& site)
      : LinearStateMixer(params, site, expansion), strongest_(params.negative_eigenvalues ? 2 : 1) {
    add_projections(small_normal, small_normal, value_size_);
    if (params.write_strength) strength_ = &child<Linear>("b_proj", width_, heads_, initialise::normal(0.02));
    if (params.gate) gate_ = &child<Linear>("g_proj", width_, value_channels(), initialise::normal(0.02));
    if (params.normalization) norm_ = &child<RmsNorm>("o_norm", value_size_, heads_, params.norm_epsilon);
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      Projected p = projected(x, context);
      if (taps_ == 0) {
        for (Var* const one : {&p.query, &p.key, &p.value}) *one = activation(Activation::silu, *one);
      }
      const Var query = l2_norm(p.query, heads_, key_epsilon, query_scale());
      const Var key = l2_norm(p.key, heads_, key_epsilon), written = weighted(key, x, context);
      Var y = recur({query, {}, written, p.value, scale(key, -1), written}, context);
      if (norm_ != nullptr) y = norm_->forward(y, context);
      if (gate_ != nullptr) y = gate(Activation::silu, gate_->forward(x, context), y);
      return output(y, context);
    });
  }

  std::string summary() const override { return fmt::format("delta_rule, {}", sizes()); }

 private:
  // β k̂
  Var weighted(const Var& key, const Var& x, const ForwardContext& context) const {
    if (strength_ == nullptr) return strongest_ == 1 ? key : scale(key, strongest_);
    const Var strength = scale(activation(Activation::sigmoid, strength_->forward(x, context)), strongest_);
    probe(context, "write_strength", strength, "batch,time,head");
    return multiply(repeat_heads(strength, key_size_), key);
  }

  double strongest_;
  Linear *strength_ = nullptr, *gate_ = nullptr;
  RmsNorm* norm_ = nullptr;
};

const RegisterKind<Mixer, Params, MixerSite> registered("time_mix", "delta_rule", describe,
                                                        [](const Params& params, const MixerSite& site) {
                                                          return std::make_unique<DeltaRule>(params, site);
                                                        });

}  // namespace
}  // namespace rwkvlab
