// What the mixers of Vision-RWKV share (arXiv:2403.02308): projections that see every token blended with its neighbours
// in the image. They see all tokens at once and carry no state.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "autograd/ops/token_shift.h"
#include "blocks/mixer.h"
#include "config/fields.h"
#include "nn/layers.h"

namespace rwkvlab {

struct ImageShiftParams {
  ImageShiftParams();  // Out of line, as MatrixStateParams.
  std::string token_shift = "q_shift";
  std::int64_t shift_pixels = 1;
  double channel_gamma = 0.25;
  std::int64_t head_size = 0;
};

/// The fields of ImageShiftParams in a description of Params, which derives from it.
template <class Params>
void describe_image_shift(Fields<Params>& f, const char* head_size_doc) {
  f.add("token_shift", static_cast<std::string Params::*>(&ImageShiftParams::token_shift),
        "what a token is blended with",
        one_of({{"q_shift", "four groups of the channels with the tokens to the left, right, above and below"},
                {"q_shift_heads", "the same in the channels of every head"},
                {"previous", "the token before, as in text"},
                {"double",
                 "the third group of the channels with the token before, the fourth with the one after, the "
                 "others with zeros"},
                {"none", "nothing: the projections see x itself"}}));
  f.add("shift_pixels", static_cast<std::int64_t Params::*>(&ImageShiftParams::shift_pixels),
        "distance of the tokens it is blended with", between(1, 1000))
      .unit("tokens");
  f.add("channel_gamma", static_cast<double Params::*>(&ImageShiftParams::channel_gamma),
        "share of the channels in each of the four groups (q_shift, double)", between(0, 0.25));
  f.add("head_size", static_cast<std::int64_t Params::*>(&ImageShiftParams::head_size), head_size_doc, at_least(0))
      .unit("channels");
}

class ImageMixer : public Mixer {
 public:
  bool is_causal() const final { return false; }
  bool needs_grid() const final { return params_.token_shift == "q_shift" || params_.token_shift == "q_shift_heads"; }
  /// Whether its projections see blends of tokens.
  bool has_token_shift() const { return params_.token_shift != "none"; }

 protected:
  /// ConfigError when the head size does not divide the width, or does not fit the token shift.
  ImageMixer(const ImageShiftParams& params, const MixerSite& site, MixedToken weighs);

  /// A mix that initialises to `initial`; a weight of x, or of what it is blended with.
  void add_mix(const std::string& name, Initialiser initial);
  std::vector<Var> mix_values() const;
  /// The blends, in the order of add_mix.
  std::vector<Var> shifted(const Var& x, const ForwardContext& context);
  /// What the layers make of the blends, in the order of add_mix.
  std::vector<Var> projected(const Var& x, const std::vector<const Linear*>& layers, const ForwardContext& context);
  /// What tokens are blended with: the context's token shift, or this block's own; null for `none`. ShapeError when a
  /// state is wanted, or when the grid is missing or has another number of tokens than x.
  const TokenShift* token_shift(const Var& x, const ForwardContext& context);

  std::int64_t width_, head_size_, heads_;

 private:
  TokenShift make_shift(const TokenGrid& grid) const;
  ImageShiftParams params_;
  MixedToken weighs_;
  std::vector<Parameter*> mixes_;
  std::size_t mix_count_ = 0;
  std::optional<std::pair<TokenGrid, TokenShift>> made_;  // The last grid's.
};

/// start + rise (i / (width - 1))^(0.7 + 1.3 depth): slow decays in early channels.
Initialiser image_decay_ramp(std::int64_t width, const MixerSite& site, double start, double rise);

}  // namespace rwkvlab
