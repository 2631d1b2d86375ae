// Linear attention (Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with Linear
// Attention", arXiv:2006.16236). Per head, with φ(u) = elu(u) + 1 and no scale of the queries:
//   S_t = S_{t-1} + v_t φ(k_t)ᵀ    z_t = z_{t-1} + φ(k_t)    y_t = S_t φ(q_t) / (z_t · φ(q_t) + ε)
// Projections: blocks/linear_state_mixer.h. State: wkv [heads, value_size + 1, key_size], z the last row of each head.
#include <fmt/format.h>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/linear_attention.h"
#include "blocks/linear_state_mixer.h"
#include "config/registry.h"

namespace rwkvlab {
namespace {

struct Params : LinearStateParams {
  double epsilon = 1e-6;
};

constexpr Expansion expansion = {1, 1};

void describe(Fields<Params>& f) {
  f.doc("Linear attention: a matrix-valued state that only grows, read with positive features and normalised.");
  f.paper("arXiv:2006.16236");
  describe_linear_state(f, expansion);
  f.add("epsilon", &Params::epsilon, "added to the sum of the weights", at_least(0));
}

class LinearAttention final : public LinearStateMixer {
 public:
  LinearAttention(const Params& params, const MixerSite& site)
      : LinearStateMixer(params, site, expansion), epsilon_(params.epsilon) {
    add_projections(torch_linear, torch_linear, value_size_ + 1);
  }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      const Projected p = projected(x, context);
      const LinearAttentionInputs inputs = {activation(Activation::elu_plus_one, p.query),
                                            activation(Activation::elu_plus_one, p.key), p.value,
                                            read_state(context, "wkv")};
      const LinearAttentionResult result = linear_attention(inputs, heads_, epsilon_, wants_state(context));
      write_state(context, "wkv", result.final_state);
      probe(context, "wkv", result.y);
      return output(result.y, context);
    });
  }

  std::string summary() const override { return fmt::format("linear_attention, {}", sizes()); }

 private:
  double epsilon_;
};

const RegisterKind<Mixer, Params, MixerSite> registered("time_mix", "linear_attention", describe,
                                                        [](const Params& params, const MixerSite& site) {
                                                          return std::make_unique<LinearAttention>(params, site);
                                                        });

}  // namespace
}  // namespace rwkvlab
