// The mixer of Mamba-2 (Dao, Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured
// State Space Duality", arXiv:2405.21060). A state space with one decay per head, D = expansion · width channels:
//   [z; x; B; C; δ] = W_in u                 z, x: [D], B, C: [groups · state_size], δ: [heads]
//   [x; B; C] = SiLU(conv([x; B; C]))        a short causal convolution in time, every channel on its own
//   Δ = softplus(δ + dt_bias)    A = -exp(A_log)
// Per head of head_size channels, B and C shared by the heads of a group:
//   S_t = e^{A Δ_t} S_{t-1} + Δ_t x_t B_tᵀ    y_t = S_t C_t + D x_t
//   out = W_out RMSNorm_groups(y ⊙ SiLU(z))
// State: wkv [heads, head_size, state_size]; of conv1d the last inputs. Initial values: A = -U(1, 16), Δ log-uniform
// between dt_min and dt_max where δ = 0, D = 1, projections U(-n^(-1/2), n^(-1/2)) for n inputs.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops/channels.h"
#include "autograd/ops/elementwise.h"
#include "autograd/ops/heads.h"
#include "autograd/ops/token_lerp.h"
#include "base/error.h"
#include "blocks/linear_state_mixer.h"
#include "config/registry.h"

namespace rwkvlab {
namespace {

struct Params {
  std::int64_t expansion = 2;
  std::int64_t head_size = 0;
  std::int64_t state_size = 128;
  std::int64_t groups = 1;
  std::int64_t convolution = 4;
  bool skip = true;
  bool normalization = true;
  double norm_epsilon = 1e-5;
  bool gate = true;
  double dt_min = 0.001;
  double dt_max = 0.1;
};

void describe(Fields<Params>& f) {
  f.doc("Mamba-2: a state space with one decay per head that depends on the token, a short convolution and a gate.");
  f.paper("arXiv:2405.21060");
  f.add("expansion", &Params::expansion, "channels of the mixer in units of the model's width", at_least(1));
  f.add("head_size", &Params::head_size,
        "channels of a head; 0: the largest divisor of the channels up to 64 and half of them", at_least(0))
      .unit("channels");
  f.add("state_size", &Params::state_size, "numbers that the state has for every channel", at_least(1));
  f.add("groups", &Params::groups, "groups of heads that share B and C", at_least(1));
  f.add("convolution", &Params::convolution, "tokens that the short causal convolution sees; 0: none", at_least(0))
      .unit("tokens");
  f.add("skip", &Params::skip, "add D x to what is read from the state");
  f.add("normalization", &Params::normalization, "divide the gated output by its root mean square (norm)");
  f.add("norm_epsilon", &Params::norm_epsilon, "added to the mean square", above(0));
  f.add("gate", &Params::gate, "gate the output with SiLU of z");
  f.add("dt_min", &Params::dt_min, "smallest initial step Δ", above(0));
  f.add("dt_max", &Params::dt_max, "largest initial step Δ", above(0));
  f.check([](const Params& p) { return p.dt_min <= p.dt_max ? "" : "dt_min is above dt_max"; }, "dt_min");
}

// Initial values value(x) with x from U(low, high).
Initialiser of_uniform(double low, double high, double (*value)(double)) {
  return [=](const Tensor& into, const RandomStream& random) {
    for_real(into.dtype(), [&]<class Real>(Real) {
      for (std::int64_t i = 0; i < into.elements(); ++i) {
        const double x = low + (high - low) * random.uniform(static_cast<std::uint64_t>(i));
        into.data<Real>()[i] = static_cast<Real>(value(x));
      }
    });
  };
}

// softplus^-1(max(e^x, 1e-4))
double step_bias(double x) {
  const double step = std::max(std::exp(x), 1e-4);
  return step + std::log(-std::expm1(-step));
}

class Mamba2 final : public Mixer {
 public:
  Mamba2(const Params& params, const MixerSite& site)
      : p_(params),
        channels_(params.expansion * site.width),
        head_size_(params.head_size > 0 ? params.head_size : divisor_up_to(std::min<std::int64_t>(64, channels_ / 2))),
        heads_(channels_ / head_size_),
        shared_(params.groups * params.state_size) {
    check_sizes();
    input_ = &child<Linear>("in_proj", site.width, (p_.gate ? 2 : 1) * channels_ + 2 * shared_ + heads_,
                            torch_linear(site.width));
    if (p_.convolution > 0) {
      convolution_ = &child<ShortConvolution>("conv1d", channels_ + 2 * shared_, p_.convolution, true);
    }
    step_bias_ = &parameter("dt_bias", {heads_}, of_uniform(std::log(p_.dt_min), std::log(p_.dt_max), step_bias));
    log_rate_ = &parameter("A_log", {heads_}, of_uniform(1, 16, [](double x) { return std::log(x); }));
    if (p_.skip) skip_ = &parameter("D", {heads_}, initialise::constant(1));
    if (p_.normalization) norm_ = &child<RmsNorm>("norm", channels_, p_.groups, p_.norm_epsilon);
    output_ = &child<Linear>("out_proj", channels_, site.width, torch_linear(channels_));
    state("wkv", {heads_, head_size_, p_.state_size});
  }

  Var forward(const Var& u, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      std::vector<std::int64_t> sizes = {channels_ + 2 * shared_, heads_};
      if (p_.gate) sizes.insert(sizes.begin(), channels_);
      const std::vector<Var> parts = split_channels(input_->forward(u, context), sizes);
      const Var& mixed = parts[parts.size() - 2];
      const std::vector<Var> xbc = split_channels(
          activation(Activation::silu, convolution_ != nullptr ? convolution_->forward(mixed, context) : mixed),
          {channels_, shared_, shared_});
      Var y = recur(xbc, parts.back(), context);
      if (p_.gate) y = gate(Activation::silu, parts[0], y);
      if (norm_ != nullptr) y = norm_->forward(y, context);
      y = output_->forward(y, context);
      probe(context, "out", y);
      return y;
    });
  }

  std::string summary() const override {
    return fmt::format("mamba2, {} heads of {} with {} states, convolution over {}", heads_, head_size_, p_.state_size,
                       p_.convolution);
  }

 private:
  // The largest divisor of the channels up to `most`.
  std::int64_t divisor_up_to(std::int64_t most) const {
    std::int64_t size = std::clamp<std::int64_t>(most, 1, channels_);
    while (channels_ % size != 0) --size;
    return size;
  }

  void check_sizes() const {
    if (channels_ % head_size_ != 0) {
      throw ConfigError(
          fmt::format("head_size {} does not divide the {} channels of the time mix; expected a divisor, "
                      "such as {}",
                      head_size_, channels_, divisor_up_to(head_size_)));
    }
    if (heads_ % p_.groups != 0) {
      throw ConfigError(
          fmt::format("groups {} does not divide the {} heads of {} channels; expected a divisor, such as 1", p_.groups,
                      heads_, head_size_));
    }
  }

  static Var for_every_token(const Var& vector, const Var& like) {
    return repeat_rows(vector, like.shape()[0], like.shape()[1]);
  }

  // From [x; B; C] and δ to y.
  Var recur(const std::vector<Var>& xbc, const Var& raw_step, const ForwardContext& context) const {
    const Var step = activation(Activation::softplus, add(raw_step, for_every_token(step_bias_->var, raw_step)));
    const Var rate = scale(activation(Activation::exp, log_rate_->var), -1);
    const Var log_decay = multiply(for_every_token(rate, raw_step), step);
    probe(context, "step", step, "batch,time,head");
    probe(context, "log_decay", log_decay, "batch,time,head");
    const std::int64_t repeats = heads_ / p_.groups;
    const Wkv7Inputs inputs = {repeat_groups(xbc[2], p_.groups, repeats),
                               repeat_heads(log_decay, p_.state_size),
                               repeat_groups(xbc[1], p_.groups, repeats),
                               multiply(xbc[0], repeat_heads(step, head_size_)),
                               {},
                               {}};
    const Wkv7Result wkv = wkv7(inputs, read_state(context, "wkv"), heads_, wants_state(context));
    write_state(context, "wkv", wkv.final_state);
    probe(context, "wkv", wkv.y);
    if (skip_ == nullptr) return wkv.y;
    return add(wkv.y, multiply(xbc[0], for_every_token(repeat_elements(skip_->var, head_size_), xbc[0])));
  }

  Params p_;
  std::int64_t channels_, head_size_, heads_, shared_;
  Linear *input_, *output_;
  ShortConvolution* convolution_ = nullptr;
  Parameter *step_bias_, *log_rate_, *skip_ = nullptr;
  RmsNorm* norm_ = nullptr;
};

const RegisterKind<Mixer, Params, MixerSite> registered("time_mix", "mamba2", describe,
                                                        [](const Params& params, const MixerSite& site) {
                                                          return std::make_unique<Mamba2>(params, site);
                                                        });

}  // namespace
}  // namespace rwkvlab
