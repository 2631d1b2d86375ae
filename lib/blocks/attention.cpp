// Softmax attention (Vaswani et al., "Attention Is All You Need", arXiv:1706.03762), causal if not said otherwise, D =
// width, H heads of d = D / H channels:
//   q = W_q x + b_q    k = W_k x + b_k    v = W_v x + b_v                       [D, D], biases by option
//   y_t = Σ_{i<=t} p_ti v_i,  p_t = softmax_i(q_t·k_i / sqrt(d))  per head      autograd/ops/causal_attention.h
//   out = W_o y + b_o
// Positions, t counted from the start of the sequence:
//   rotary   q and k are turned by the angles t θ_j, θ_j = base^(-2j/d), channels j and j + d/2 of a head together
//            (Su et al., arXiv:2104.09864)
//   alibi    - (t - i) 2^(-8 (h+1) / H) is added to the scores of head h = 0...H-1 (Press et al., arXiv:2108.12409; for
//            every H, while its authors' code interpolates where H is no power of two)
//   learned  x_t + P_t in place of x_t, P: [max_length, D]
//
// State: key and value [tokens so far, D], the cache (the keys are turned already). It grows with every token, in place
// where the incoming state is given up (nn/overwritten_state.h) and is that of a single sequence.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops/causal_attention.h"
#include "autograd/ops/positions.h"
#include "base/error.h"
#include "blocks/transformer_init.h"
#include "config/registry.h"
#include "nn/layers.h"
#include "nn/overwritten_state.h"

namespace rwkvlab {
namespace {

struct Params {
  std::int64_t head_size = 0;
  std::string positions = "rotary";
  double rotary_base = 10000;
  std::int64_t max_length = 1024;
  bool bias = false;
  double init_deviation = gpt2_deviation;
  bool causal = true;
};

std::string check_causal(const Params& params) {
  return !params.causal && params.positions == "alibi"
             ? "positions: alibi counts how far back a token lies; without causal, take learned or rotary positions"
             : "";
}

void describe(Fields<Params>& f) {
  f.doc("Softmax attention over all past tokens, with several heads and a choice of positions.");
  f.paper("arXiv:1706.03762");
  f.add("head_size", &Params::head_size,
        "channels per head; 0: 64, or the model's width where that is smaller (arXiv:1706.03762, section 3.2.2)",
        at_least(0))
      .unit("channels");
  f.add(
      "positions", &Params::positions, "how tokens learn where they stand",
      one_of({{"none", "only by what the past holds"},
              {"rotary", "queries and keys turned by their position (arXiv:2104.09864)"},
              {"alibi",
               "scores lowered by the distance times 2^(-8h/H) in head h = 1...H (arXiv:2108.12409; that paper's code "
               "interpolates where H is no power of two)"},
              {"learned", "a learned vector per position added to the input"}}));
  f.add("rotary_base", &Params::rotary_base, "base of the rotary angles", above(0));
  f.add("max_length", &Params::max_length, "learned positions: the longest sequence", between(1, 1 << 20))
      .unit("tokens");
  f.add("bias", &Params::bias, "biases in the four projections");
  f.add("causal", &Params::causal,
        "a token sees those up to it; false: all tokens of the sequence, for images, and nothing can be carried on");
  f.check(check_causal, "causal");
  f.add("init_deviation", &Params::init_deviation,
        "standard deviation of the initial projections (the output's is divided by sqrt(2 layers))", at_least(0));
}

std::int64_t head_size_of(const Params& params, std::int64_t width) {
  const std::int64_t size = params.head_size > 0 ? params.head_size : std::min<std::int64_t>(64, width);
  const bool even = params.positions == "rotary";
  const auto fits = [&](std::int64_t candidate) { return width % candidate == 0 && (!even || candidate % 2 == 0); };
  if (fits(size)) return size;
  std::int64_t nearest = std::min(size, width);
  while (nearest > 1 && !fits(nearest)) --nearest;
  throw ConfigError(fmt::format("time_mix.head_size is {}; expected {}divisor of the width {}{}", size,
                                even ? "an even (for rotary positions) " : "a ", width,
                                fits(nearest) ? fmt::format(", for example {}", nearest) : ", which has none"));
}

// `past` [1, before, D] (or null) and then x [1, time, D]: in the memory of the past where it has room and nobody else
// holds it; else in new memory with half as much to spare, so that tokens that come one by one are rarely copied.
Tensor grown_cache(const Tensor* past, const Tensor& x) {
  constexpr std::int64_t least_tokens = 64;
  const std::int64_t before = past != nullptr ? past->shape()[1] : 0, tokens = before + x.shape()[1],
                     width = x.shape()[2];
  const bool fits = past != nullptr && past->unique() && past->room() >= tokens * width;
  const Shape shape = {1, tokens, width};
  const Tensor all = fits ? past->stretched(shape)
                          : Tensor::with_room(shape, std::max(tokens + tokens / 2, least_tokens) * width, x.dtype());
  const auto part = [&](std::int64_t begin, std::int64_t end) {
    return all.reshaped({tokens, width}).rows(begin, end).reshaped({1, end - begin, width});
  };
  if (!fits && before > 0) part(0, before).copy_from(*past);
  part(before, tokens).copy_from(x);
  return all;
}

class Attention final : public Mixer {
 public:
  Attention(const Params& params, const MixerSite& site)
      : params_(params),
        width_(site.width),
        head_size_(head_size_of(params, site.width)),
        heads_(site.width / head_size_) {
    const Initialiser initial = initialise::normal(params.init_deviation);
    if (params.positions == "learned") {
      positions_ = &parameter("positions", {params.max_length, width_}, initial, matrix_rules());
    }
    if (params.positions == "alibi") {
      for (std::int64_t h = 0; h < heads_; ++h) {
        slopes_.push_back(std::exp2(-8.0 * static_cast<double>(h + 1) / static_cast<double>(heads_)));
      }
    }
    query_ = &child<Linear>("query", width_, width_, initial, params.bias);
    key_ = &child<Linear>("key", width_, width_, initial, params.bias);
    value_ = &child<Linear>("value", width_, width_, initial, params.bias);
    output_ = &child<Linear>("output", width_, width_, branch_end(params.init_deviation, site), params.bias);
    if (!params.causal) return;
    state("key", {0, width_});
    state("value", {0, width_});
  }

  bool is_causal() const override { return params_.causal; }

  Var forward(const Var& x, const ForwardContext& context) override {
    return in_module(*this, context, [&] {
      if (!params_.causal && (context.state_in != nullptr || wants_state(context)))
        throw ShapeError("attention over all tokens sees the whole sequence at once and cannot carry a state");
      const std::int64_t first = tokens_before(context);
      const Var placed = positions_ != nullptr ? with_learned_positions(x, first) : x;
      Var q = query_->forward(placed, context), k = key_->forward(placed, context);
      if (params_.positions == "rotary") {
        const Tensor table = angles(first, x.shape()[1], x.dtype());
        q = rotate_heads(q, table);
        k = rotate_heads(k, table);
      }
      k = after_cache(context, "key", k);
      const Var v = after_cache(context, "value", value_->forward(placed, context));
      write_state(context, "key", k);
      write_state(context, "value", v);
      const Var y = params_.causal ? causal_attention(q, k, v, heads_, slopes_) : full_attention(q, k, v, heads_);
      probe(context, "attended", y);
      Var out = output_->forward(y, context);
      probe(context, "out", out);
      return out;
    });
  }

  std::string summary() const override {
    return fmt::format("attention, {} heads of {}, positions {}{}", heads_, head_size_, params_.positions,
                       params_.causal ? "" : ", over all tokens");
  }

 private:
  Var with_learned_positions(const Var& x, std::int64_t first) const {
    if (x.shape().rank() == 3 && first + x.shape()[1] > params_.max_length) {
      throw ShapeError(fmt::format("a sequence of {} tokens has only {} learned positions; raise time_mix.max_length",
                                   first + x.shape()[1], params_.max_length));
    }
    return add_positions(x, positions_->var, first);
  }

  std::int64_t tokens_before(const ForwardContext& context) const {
    const Var past = read_state(context, "key");
    return past.defined() ? past.shape()[1] : 0;
  }

  // The tokens of a cache and then those of x.
  Var after_cache(const ForwardContext& context, const char* name, const Var& x) const {
    if (!OverwriteState::active() || Tape::current() != nullptr || !wants_state(context) || x.shape()[0] != 1)
      return append_tokens(read_state(context, name), x);
    const Var* const past = context.state_in != nullptr ? context.state_in->find(path() + "." + name) : nullptr;
    return Var(grown_cache(past != nullptr ? &past->value() : nullptr, x.value()));
  }

  // Batches of one shape, as in training, compute the angles once.
  const Tensor& angles(std::int64_t first, std::int64_t time, DType type) {
    const bool fits = table_.defined() && table_first_ == first && table_.shape()[0] == time &&
                      table_.dtype() == type && table_of_shapes_ == ShapeOnly::active();
    if (!fits) {
      table_ = rotary_table(first, time, head_size_, params_.rotary_base, type);
      table_first_ = first;
      table_of_shapes_ = ShapeOnly::active();
    }
    return table_;
  }

  Params params_;
  std::int64_t width_, head_size_, heads_;
  std::vector<double> slopes_;
  Parameter* positions_ = nullptr;
  Linear *query_, *key_, *value_, *output_;
  Tensor table_;
  std::int64_t table_first_ = 0;
  bool table_of_shapes_ = false;
};

const RegisterKind<Mixer, Params, MixerSite> registered("time_mix", "attention", describe,
                                                        [](const Params& params, const MixerSite& site) {
                                                          return std::make_unique<Attention>(params, site);
                                                        });

}  // namespace
}  // namespace rwkvlab
