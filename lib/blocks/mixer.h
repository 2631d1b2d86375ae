// What every block that mixes tokens or channels has in common. The kinds of the slots "time_mix" and "channel_mix" are
// the files of this folder; each registers itself and begins with its equations.
#pragma once

#include <cstdint>

#include "nn/module.h"

namespace rwkvlab {

/// Where in a model a mixer stands. Blocks that initialise by depth (RWKV's do) need to know.
struct MixerSite {
  int layer = 0;           ///< from 0
  int layers = 1;          ///< of the whole model
  std::int64_t width = 0;  ///< channels of the residual stream

  /// l / (L - 1), the relative depth from 0 (first layer) to 1 (last); 0 for a model of one layer.
  double depth() const { return layers > 1 ? static_cast<double>(layer) / (layers - 1) : 0.0; }
  /// 1 - l / L, from 1 (first layer) towards 0.
  double remaining() const { return 1.0 - static_cast<double>(layer) / layers; }
};

/// A time mix or a channel mix: maps the normalised residual stream to what is added to it. Input and result are
/// [batch, time, width]. Carried state is read from and written to the context under the module's path.
class Mixer : public Module {
 public:
  virtual Var forward(const Var& x, const ForwardContext& context) = 0;
  /// Whether a token's result depends on the tokens up to it alone, so that a sequence can be computed piece by piece.
  /// False for blocks that need all tokens at once: they carry no state and fit no language model.
  virtual bool is_causal() const { return true; }
  /// Whether the result is 0 whatever the input, so that it need not be computed.
  virtual bool adds_nothing() const { return false; }
  /// Whether ForwardContext::grid must say how the tokens lie in an image.
  virtual bool needs_grid() const { return false; }
};

}  // namespace rwkvlab
