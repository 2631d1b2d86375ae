// A trained model from what a run left behind.
#pragma once

#include <filesystem>
#include <memory>

#include "data/tokenizer.h"
#include "models/language_model.h"
#include "run/experiment.h"

namespace rwkvlab {

/// A language model with its weights, and what it was trained on.
struct TrainedModel {
  std::filesystem::path file;  ///< Where the weights came from.
  LoadedExperiment loaded;     ///< The resolved experiment that trained it.
  Tokenizer tokenizer;
  std::unique_ptr<Module> root;
  const LanguageModel* model = nullptr;  ///< The root as what it is.
};

/// Reads the weights that `source` names (train/checkpoint.h, weights_file: a run folder, a checkpoint or a safetensors
/// file) into the model that the checkpoint describes. Throws DataError for a file that no training of this program
/// wrote, that lacks its vocabulary, or whose weights do not fit; ConfigError when its experiment is not understood.
TrainedModel load_trained_model(const std::filesystem::path& source);

}  // namespace rwkvlab
