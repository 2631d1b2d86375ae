// The fields of an image backbone in YAML, for models whose parameters derive from ImageBackboneParams.
#pragma once

#include <memory>

#include "config/base_members.h"
#include "config/fields.h"
#include "config/registry.h"
#include "models/image_backbone.h"
#include "models/recompute_fields.h"

namespace rwkvlab {

/// Registers a model of images, which is made from parameters P and the sizes of the data.
template <class Model, class P>
RegisterKind<Module, P, ModelSite> image_model_kind(const char* kind) {
  return {"model", kind, [](Fields<P>& f) { describe(f); },
          [](const P& params, const ModelSite& data) { return std::make_unique<Model>(params, data); }};
}

template <class P>
void describe_image_size(Fields<P>& f) {
  using B = ImageSizeParams;
  f.add("channels", own<P>(&B::channels), "colours of an image; 0: as many as the data has", between(0, 1024))
      .unit("channels");
  f.add("image_height", own<P>(&B::image_height), "rows of an image; 0: as the data has", between(0, 1 << 16))
      .unit("pixels");
  f.add("image_width", own<P>(&B::image_width), "columns of an image; 0: as the data has", between(0, 1 << 16))
      .unit("pixels");
  f.add("patch_size", own<P>(&B::patch_size),
        "side of the squares that become tokens; images are padded with zeros at the bottom and on the right to a "
        "multiple of it",
        between(1, 4096))
      .unit("pixels");
}

template <class P>
void describe_image_layers(Fields<P>& f) {
  using B = ImageLayerParams;
  f.add("layers", own<P>(&B::layers), "number of layers", between(1, 1000)).unit("layers");
  f.add("width", own<P>(&B::width), "channels of the residual stream", between(1, 65536)).unit("channels");
  f.kind("time_mix", own<P>(&B::time_mix), "time_mix", "how the layers mix tokens", "vision_rwkv");
  f.kind("channel_mix", own<P>(&B::channel_mix), "channel_mix", "how the layers mix the channels of a token",
         "vision_rwkv");
  f.add("scan", own<P>(&ScanParams::scan),
        "how a time mix that was made for sequences reads the image; a class token is last in every order that is no "
        "reverse",
        one_of({{"raster", "once, row by row: a token sees those before it"},
                {"bidirectional", "row by row and in reverse, with the same weights; the mean of both"},
                {"four_directional",
                 "layers take turns of four orders: row by row, its reverse, column by column, its reverse"},
                {"cross_scan", "all four orders in every layer; the mean of all"}}));
  f.add("token_shift", own<P>(&ScanParams::token_shift), "what tokens are blended with before the mixes",
        one_of({{"own", "as the mixes do by themselves"},
                {"q_shift",
                 "the tokens to the left, right, above and below, a quarter of the channels each (Q-Shift, "
                 "arXiv:2403.02308), in place of the token before; a time mix without a token shift gets a learned "
                 "blend in front of it"}}));
  f.add("norm", own<P>(&B::norm), "where a branch is normalised",
        one_of({{"before", "x + mix(LN(x))"}, {"after", "x + LN(mix(x))"}}));
  f.add("layer_scale", own<P>(&B::layer_scale),
        "initial value of a learned factor per channel on every branch (arXiv:2103.17239); left out: no such factors");
  f.add("drop_path", own<P>(&B::drop_path),
        "probability that a training drops a branch of an image (arXiv:1603.09382): this in the last layer, growing "
        "evenly from 0 in the first",
        at_least(0) && below(1));
  f.add("embedding_norm", own<P>(&B::embedding_norm), "layer norm before the first layer (ln0)");
  f.add("layer_norm_epsilon", own<P>(&B::layer_norm_epsilon), "added to the variance in layer norms", above(0));
  describe_recompute(f);
}

template <class P>
void describe_backbone(Fields<P>& f) {
  using B = ImageBackboneParams;
  describe_image_layers(f);
  describe_image_size(f);
  f.add("positions", own<P>(&B::positions), "positions that are added to the patches",
        one_of({{"learned", "a learned vector per patch"},
                {"sine", "fixed sines and cosines of the column and of the row (arXiv:1706.03762, arXiv:2111.06377)"},
                {"none", "none; the mixes may have their own"}}));
  f.add("position_resize", own<P>(&B::position_resize), "how learned positions fit an image of another size",
        one_of({{"bicubic", "cubic interpolation (a = -0.75)"}, {"bilinear", "linear interpolation"}}));
  f.add("position_height", own<P>(&B::position_height),
        "rows of the images that the positions are learned for; 0: as the model's images have", between(0, 1 << 16))
      .unit("pixels");
  f.add("position_width", own<P>(&B::position_width), "columns of those images; 0: as the model's images have",
        between(0, 1 << 16))
      .unit("pixels");
  f.add("position_deviation", own<P>(&B::position_deviation),
        "standard deviation of the initial learned positions and of the class token", at_least(0));
  f.add("class_token", own<P>(&B::class_token), "a learned token after those of the image, without a position");
  f.add("dropout", own<P>(&B::dropout), "dropout of the patches", at_least(0) && below(1));
  f.add("final_norm", own<P>(&B::final_norm), "layer norm after the last layer");
}

}  // namespace rwkvlab
