// How long the channels of each layer remember: plots of the time decay of RWKV-4, and of spatial decays.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "analysis/figure.h"

namespace rwkvlab {

/// Raw time_decay parameters of one layer.
struct LayerDecay {
  int layer = 0;
  std::vector<float> time_decay;  ///< [channel].
  bool is_spatial = false;        ///< Of Vision-RWKV: exp(-w / T) per token.
  std::int64_t head_size = 0;     ///< Channels of a head; 0: there are none, or the source does not say.
};

/// Raw time_decay parameters of one layer at every recorded step.
struct LayerDecayHistory {
  int layer = 0;
  std::vector<std::int64_t> steps;
  std::vector<std::vector<float>> time_decay;  ///< [record][channel].
  bool is_spatial = false;                     ///< Of Vision-RWKV: exp(-w / T) per token.
};

/// The decays of all layers, by depth, from a run folder (its run.h5), a run file (the last record, or the last one at
/// or before `step`), a checkpoint folder (its model.safetensors) or a safetensors file (tensors
/// `blocks.N.att.time_decay`; of Vision-RWKV `layers.N.att.spatial_decay`). Throws DataError when the source holds no
/// decays, none at that step, or values that are not numbers.
std::vector<LayerDecay> read_decays(const std::filesystem::path& source,
                                    std::optional<std::int64_t> step = std::nullopt);
/// The decays of all layers at all recorded steps of a run. Throws DataError, also for a safetensors file.
std::vector<LayerDecayHistory> read_decay_history(const std::filesystem::path& source);

/// Value at fraction `q` in [0, 1] of sorted values, linear between neighbours. `sorted` must not be empty.
double quantile(const std::vector<double>& sorted, double q);

struct DecayPlotOptions {
  std::filesystem::path source;  ///< Run folder, run file, checkpoint folder or safetensors file.
  std::filesystem::path output;  ///< .svg, .pdf or .png.
  bool half_life = false;        ///< Half-life in tokens, ln(2) exp(-w), on a logarithmic axis, instead of the decay.
  bool over_training =
      false;  ///< One panel per layer: median, quartiles and 5 to 95 % of the channels against the step.
  std::optional<std::int64_t> step;  ///< Of a run file: the last record at or before this step. Not with over_training.
  std::string title;
  bool profile = false;  ///< Of spatial decays: the weight against the distance.
  bool map = false;      ///< All channels in the model's order as colours, heads marked where there are any; of a run
                         ///< without `step`, at its beginning too.
};

/// Draws the decay exp(-exp(w)) of every channel, sorted from slow to fast, one line per layer (as in "RWKV:
/// Reinventing RNNs for the Transformer Era"), or what the options ask for. Throws DataError and what draw_figure
/// throws.
FigureFiles plot_decay(const DecayPlotOptions& options);

/// The figure that plot_decay draws.
Figure decay_figure(const DecayPlotOptions& options);

}  // namespace rwkvlab
