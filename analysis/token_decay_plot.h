// Figures of decays that depend on the data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "analysis/figure.h"
#include "analysis/token_decay.h"

namespace rwkvlab {

struct TokenDecayPlotOptions {
  std::filesystem::path source;  ///< Run folder, checkpoint or safetensors file of a run.
  std::filesystem::path text;    ///< The text to read; empty: held-out data of the run.
  std::int64_t tokens = 0;       ///< At most so many of its tokens; 0: the run's context, or 64 for a heat map.
  bool heat_map = false;         ///< Decays token by token instead of their distribution.
  std::optional<int> layer;      ///< One layer alone.
  std::optional<int> head;       ///< Of a heat map: the channels of this head; needs `layer`.
  bool half_life = false;        ///< ln 2 / -ln w in tokens, on a logarithmic axis, instead of the decay w.
  std::filesystem::path output;  ///< .svg, .pdf or .png.
  std::string title;
  std::filesystem::path tokenizer = {};  ///< Vocabulary file, for official weights.
};

/// Draws, for every layer, the distribution over tokens and channels of each head's decay w (median, 25 to 75 % and 5
/// to 95 %); or with `heat_map` w by token (across, as printed characters) and head (the geometric mean of its
/// channels), or by token and channel of one head, sorted from slow to fast. Throws ConfigError for a layer or head
/// that does not exist, and what read_token_decays and draw_figure throw.
FigureFiles plot_token_decay(const TokenDecayPlotOptions& options);

/// The figure that plot_token_decay draws of these decays.
Figure token_decay_figure(const TokenDecays& decays, const TokenDecayPlotOptions& options);

}  // namespace rwkvlab
