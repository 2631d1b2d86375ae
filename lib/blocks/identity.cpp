// Channel mix that hands on the normalised stream: out = x. With it a layer is h + TimeMix(LN1(h)), and then h +
// LN2(h), the frame without an MLP of "Zoology: Measuring and Improving Recall in Efficient Language Models",
// arXiv:2312.04927.
#include "blocks/mixer.h"
#include "config/registry.h"

namespace rwkvlab {
namespace {

struct Params {};

class Identity final : public Mixer {
 public:
  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      probe(context, "out", x);
      return x;
    });
  }
  std::string summary() const override { return "identity"; }
};

const RegisterKind<Mixer, Params, MixerSite> registered(
    "channel_mix", "identity",
    [](Fields<Params>& f) {
      f.doc("Adds the normalised stream itself: a layer without a channel mix whose second norm still counts.");
      f.paper("arXiv:2312.04927");
    },
    [](const Params&, const MixerSite&) { return std::make_unique<Identity>(); });

}  // namespace
}  // namespace rwkvlab
