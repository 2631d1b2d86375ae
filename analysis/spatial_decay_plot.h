// How far the channels of Vision-RWKV see across an image: plots of its spatial decay.
#pragma once

#include <vector>

#include "analysis/decay_plot.h"

namespace rwkvlab {

/// The raw decays w of every layer, one line each, sorted from near to far; or, with `profile`, the weight e^(-w x) of
/// a token at the distance x, in sequences of tokens, that a token sees another with (arXiv:2403.02308, equation 5):
/// median and quartiles of the channels. Below 0, a decay grows with the distance; the legend says how many channels
/// do.
Figure spatial_decay_figure(const std::vector<LayerDecay>& layers, const DecayPlotOptions& options);

/// The decays of all layers at one time.
struct DecayMap {
  std::string title;
  std::vector<LayerDecay> layers;
};

/// Colours for all channels in the model's order, so that heads and groups of channels stay side by side: a row for
/// each layer, the first one lowest. Spatial decays are shown as they are, time decays as the factor e^(-e^w) per
/// token.
Figure decay_map_figure(const std::vector<DecayMap>& maps);

/// Share of the channels whose weight grows with the distance: w < 0.
double growing_share(const std::vector<float>& decays);

}  // namespace rwkvlab
