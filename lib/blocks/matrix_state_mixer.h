// What the time mixes of RWKV-5 and RWKV-6 share: heads with a matrix-valued state (arXiv:2404.05892).
//
//   y = WKV(r, k, v; decay, bonus)              per head of N channels; autograd/ops/wkv6.h
//   z = GroupNorm_heads(y / d; ε)               d = head_size_divisor: the same as GroupNorm(y; ε d²)
// State: x [width], the last input; wkv [heads, N, N], rows are keys.
#pragma once

#include <string>

#include "autograd/ops/wkv6.h"
#include "blocks/shifted_mixer.h"
#include "config/fields.h"
#include "nn/layers.h"

namespace rwkvlab {

struct MatrixStateParams {
  MatrixStateParams();  // Out of line: inlined into a derived struct's, GCC 12 takes the strings for uninitialised.
  std::int64_t head_size = 0;
  std::int64_t attention_width = 0;
  std::string normalization = "group_norm";
  double norm_epsilon = 1e-5;
  double head_size_divisor = 8;
};

/// The fields of MatrixStateParams in a description of Params, which derives from it.
template <class Params>
void describe_matrix_state(Fields<Params>& f) {
  f.add("head_size", static_cast<std::int64_t Params::*>(&MatrixStateParams::head_size),
        "channels of a head; 0: 64, or all channels when there are fewer", at_least(0))
      .unit("channels");
  f.add("attention_width", static_cast<std::int64_t Params::*>(&MatrixStateParams::attention_width),
        "channels of key, value and receptance; 0: the model's width", at_least(0))
      .unit("channels");
  f.add("normalization", static_cast<std::string Params::*>(&MatrixStateParams::normalization),
        "normalisation of what the heads read from their states",
        one_of({{"group_norm", "every head on its own"}, {"layer_norm", "all channels together"}, {"none", "none"}}));
  f.add("norm_epsilon", static_cast<double Params::*>(&MatrixStateParams::norm_epsilon),
        "added to the variance in that normalisation", above(0));
  f.add("head_size_divisor", static_cast<double Params::*>(&MatrixStateParams::head_size_divisor),
        "what the heads' output is divided by before the group norm; 8 in the official models, whatever the head size",
        above(0));
}

class MatrixStateMixer : public ShiftedMixer {
 protected:
  /// ConfigError when the head size does not divide the attention width.
  MatrixStateMixer(const MatrixStateParams& params, const MixerSite& site, bool token_shift, MixedToken weighs);

  /// Receptance, key, value and output projections and the norm `ln_x`.
  void add_projections(const MatrixStateParams& params, const MixerSite& site);
  /// -6 + 5 (i / (count - 1))^(0.7 + 1.3 depth): slow decays in early channels or heads, fast ones in late ones.
  static Initialiser decay_ramp(std::int64_t count, const MixerSite& site);
  /// depth (1 - i / (count - 1)) + zigzag (((i + 1) mod 3) - 1)
  static Initialiser bonus_ramp(std::int64_t count, const MixerSite& site, double zigzag);
  /// A raw decay [attention width] that is not learned: the initial ramp, or (`forgets` false) w = 1.
  static Var constant_decay(const Var& like, std::int64_t attention, const MixerSite& site, bool forgets);
  /// WKV from the carried state (or `start`, or zeros) and the normalisation.
  Var attend(Wkv6Inputs inputs, const Var& start, const ForwardContext& context) const;

  std::int64_t attention_, head_size_, heads_;
  Linear *receptance_ = nullptr, *key_ = nullptr, *value_ = nullptr, *output_ = nullptr;

 private:
  /// `decay`, raw: [batch, time, channels] when it depends on the token, else [channels]; of the former also
  /// `log_decay`.
  void probe_decay(const Wkv6Inputs& inputs, const ForwardContext& context) const;

  GroupNorm* group_norm_ = nullptr;
  LayerNorm* layer_norm_ = nullptr;
};

}  // namespace rwkvlab
