// Trained models of images, from checkpoints.
#pragma once

#include <filesystem>

#include "models/image_model.h"
#include "run/experiment.h"

namespace rwkvlab {

/// A model of images with its data.
struct TrainedImageModel {
  std::filesystem::path file;  ///< where the weights are
  LoadedExperiment loaded;     ///< the resolved experiment that trained it
  BuiltExperiment built;       ///< allocated, with the initial weights
  const ImageModel* model = nullptr;

  /// Reads the trained weights in place of the initial ones.
  void load_weights();
};

/// Builds the model that `source` names (a run folder, a checkpoint or its model.safetensors) with the weights that its
/// training began with, and its data. Throws DataError for weights or data that cannot be read, ConfigError for models
/// that do not read images.
TrainedImageModel open_image_model(const std::filesystem::path& source);

}  // namespace rwkvlab
