// What linear attention, retention, gated linear attention and the delta rule share: heads whose keys and values may
// differ in size, and a matrix-valued state that is read after it is written (autograd/ops/wkv7.h).
//
//   q = W_q x     W_q: [heads · key_size, width]
//   k = W_k x     W_k: [heads · key_size, width]
//   v = W_v x     W_v: [heads · value_size, width]
//   out = W_o y   W_o: [width, heads · value_size]
//
// With a convolution, q, k and v each go through a short causal convolution in time and SiLU.
// State: wkv [heads, value_size, key_size]; with a convolution the last inputs of q_conv1d, k_conv1d and v_conv1d.
#pragma once

#include <functional>
#include <string>

#include "autograd/ops/wkv7.h"
#include "blocks/mixer.h"
#include "config/fields.h"
#include "nn/layers.h"
#include "nn/rms_norm.h"
#include "nn/short_convolution.h"

namespace rwkvlab {

struct LinearStateParams {
  std::int64_t heads = 0;
  std::int64_t key_size = 0;
  std::int64_t value_size = 0;
  std::int64_t convolution = 0;
};

/// What the sizes of all heads' keys and values are when they are left open, in units of the model's width.
struct Expansion {
  double keys = 1, values = 1;
};

/// The fields of LinearStateParams in a description of Params, which derives from it.
template <class Params>
void describe_linear_state(Fields<Params>& f, const Expansion& expansion) {
  const auto add = [&f](const char* key, std::int64_t LinearStateParams::*member, const std::string& text) {
    return f.add(key, static_cast<std::int64_t Params::*>(member), text, at_least(0));
  };
  const auto rule = [](double part) { return part == 2 ? "twice " : part == 0.5 ? "half " : ""; };
  add("heads", &LinearStateParams::heads, "heads; 0: one for every 64 channels of the model");
  add("key_size", &LinearStateParams::key_size,
      std::string("key channels of a head; 0: ") + rule(expansion.keys) + "the model's width over the heads")
      .unit("channels");
  add("value_size", &LinearStateParams::value_size,
      std::string("value channels of a head; 0: ") + rule(expansion.values) + "the model's width over the heads")
      .unit("channels");
  add("convolution", &LinearStateParams::convolution,
      "tokens that a short causal convolution of queries, keys and values sees, every channel on its own; 0: none")
      .unit("tokens");
}

/// `given`, or else the largest number up to one for every 64 channels that divides the width.
std::int64_t heads_or_default(std::int64_t given, std::int64_t width);

class LinearStateMixer : public Mixer {
 protected:
  /// ConfigError when a size is left open and the heads do not divide what it is computed from.
  LinearStateMixer(const LinearStateParams& params, const MixerSite& site, const Expansion& expansion);

  std::int64_t key_channels() const { return heads_ * key_size_; }
  std::int64_t value_channels() const { return heads_ * value_size_; }
  /// Initial values of a projection by the numbers of its inputs and outputs.
  using Initial = std::function<Initialiser(std::int64_t inputs, std::int64_t outputs)>;
  /// q_proj, k_proj, v_proj (`first`), o_proj (`last`), the convolutions, and the state of `state_rows` rows a head.
  void add_projections(const Initial& first, const Initial& last, std::int64_t state_rows);

  struct Projected {
    Var query, key, value;  ///< [batch, time, channels]
  };
  Projected projected(const Var& x, const ForwardContext& context) const;
  /// wkv7 from the carried state, with probes.
  Var recur(const Wkv7Inputs& inputs, const ForwardContext& context) const;
  Var output(const Var& y, const ForwardContext& context) const;
  /// key_size^(-1/2), the scale of the queries.
  double query_scale() const;
  std::string sizes() const;

  std::int64_t width_, heads_, key_size_, value_size_, taps_;

 private:
  Linear *query_ = nullptr, *key_ = nullptr, *value_ = nullptr, *output_ = nullptr;
  ShortConvolution *query_convolution_ = nullptr, *key_convolution_ = nullptr, *value_convolution_ = nullptr;
};

/// U(-n^(-1/2), n^(-1/2)) for n inputs: torch's Linear.
Initialiser torch_linear(std::int64_t inputs, std::int64_t outputs = 0);
/// N(0, 0.02²), the usual choice of language models.
Initialiser small_normal(std::int64_t inputs, std::int64_t outputs);

}  // namespace rwkvlab
