// Decays that depend on the data: what a trained model keeps of its states at every token of a text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace rwkvlab {

/// Decays of one layer. Probe "blocks.N.att.log_decay": ln w of every token, as RWKV-6 (arXiv:2404.05892), RWKV-7
/// (arXiv:2503.14456), gated linear attention (arXiv:2312.06635) and Mamba-2 (arXiv:2405.21060) compute it.
struct LayerTokenDecay {
  int layer = 0;
  std::int64_t heads = 0;
  std::int64_t channels = 0;      ///< Of a head; 1 where a head has one decay.
  std::vector<double> log_decay;  ///< [token, heads * channels], at most 0.

  std::int64_t tokens() const { return static_cast<std::int64_t>(log_decay.size()) / (heads * channels); }
  double at(std::int64_t token, std::int64_t head, std::int64_t channel) const {
    return log_decay[static_cast<std::size_t>((token * heads + head) * channels + channel)];
  }
};

/// A text and the decays of every layer that has some.
struct TokenDecays {
  std::vector<std::string> tokens;  ///< As printed: "a", "␣", "⏎", or a byte as "\x9f".
  std::vector<LayerTokenDecay> layers;
  std::string source;  ///< What the text is, for a caption.
};

/// Whether some layer of a trained model has a decay that depends on the data. Throws what load_trained_model throws.
bool has_token_decays(const std::filesystem::path& model);

/// Reads the model (run/load_model.h) and runs it over the first `count` tokens of the file `text`; without a file over
/// held-out data of its run (or training data where none is held out). A `count` of 0 is the run's context. Official
/// weights need a text, and the `tokenizer` that LoadModelOptions wants. Throws
/// DataError when the text is empty or does not fit the vocabulary, or no layer has a decay that depends on the data
/// (the message says what to plot instead), and what load_trained_model throws.
TokenDecays read_token_decays(const std::filesystem::path& model, const std::filesystem::path& text, std::int64_t count,
                              const std::filesystem::path& tokenizer = {});

}  // namespace rwkvlab
