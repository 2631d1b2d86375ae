// A trained model from what a run left behind, or from an official file of weights.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "models/language_model.h"
#include "models/weight_format.h"
#include "run/experiment.h"
#include "tensor/tensor_file.h"

namespace rwkvlab {

/// What a file of weights says about its model; no weight is read for that.
struct CheckpointDescription {
  std::string version;             ///< of an official model, "RWKV-5.2"; "" for what this program trained
  Node model;                      ///< the section `model`, as far as the file gives it
  std::string prefix;              ///< what stands before the names of the parameters in the file
  LoadedExperiment loaded;         ///< the experiment that trained it; for an official model its `model` alone
  std::vector<std::string> notes;  ///< what the file does not say, and what was taken for it
};

/// Describes the model in a file: checkpoints of this program by the experiment that they hold, others by names and
/// shapes (models/official_checkpoint.h). `settings` change the experiment ("model.time_mix.head_size_divisor=1").
/// Throws DataError for a file without a model that is known, ConfigError for settings that do not fit.
CheckpointDescription describe_checkpoint(const TensorFile& file, const std::vector<std::string>& settings = {});

/// The version of an official model that has the tensors of the file, "RWKV-5.2", whoever trained it; "" for none.
std::string official_version(const TensorFile& file);

/// The weights beside which a file was trained that holds what fine-tuning has trained alone: what `train.start_from`
/// of its experiment names. Nothing for files of whole models. Throws DataError saying how to name them when they are
/// gone.
std::optional<TensorFile> base_weights(const CheckpointDescription& description, const TensorFile& file);

/// The model of a description, without memory. `file` is the one that was described. Throws ConfigError for one that is
/// no language model.
std::unique_ptr<Module> build_checkpoint_model(const CheckpointDescription& description, const TensorFile& file);

struct LoadModelOptions {
  std::filesystem::path tokenizer = {};    ///< vocabulary file or "bytes" (Tokenizer::open); empty: what the file holds
  std::vector<std::string> settings = {};  ///< as for describe_checkpoint
  bool needs_tokenizer = true;             ///< false: the caller has no text, and any model will do
  /// In which the weights of linear layers are stored as they are read (models/weight_format.h); nothing: the model has
  /// all its weights in float32 and may be trained or written.
  std::optional<WeightFormat> format = {};
};

/// A language model with its weights, and what it was trained on.
struct TrainedModel {
  std::filesystem::path file;  ///< Where the weights came from; of fine-tuning, what it trained.
  LoadedExperiment loaded;     ///< The resolved experiment that trained it; of official models, the model alone.
  Tokenizer tokenizer;         ///< See has_tokenizer.
  std::unique_ptr<Module> root;
  const LanguageModel* model = nullptr;              ///< The root as what it is.
  std::string version = {};                          ///< of an official model, "RWKV-7"
  std::vector<std::string> notes = {};               ///< see CheckpointDescription
  bool has_tokenizer = true;                         ///< false: `tokenizer` means nothing
  std::shared_ptr<const StoredWeights> stored = {};  ///< where LoadModelOptions::format asks for it
  std::uint64_t fingerprint = 0;                     ///< of the weights that are stored (weights_fingerprint)
};

/// Reads the weights that `source` names (train/checkpoint.h, weights_file: a run folder, a checkpoint, a safetensors
/// or .pth file) into the model that they belong to. An official file needs the tokenizer's vocabulary file, unless its
/// vocabulary has 256 tokens, which are bytes. Throws DataError for weights that are not understood, do not fit or are
/// not finite, and for a tokenizer that is missing or has more tokens than the model; ConfigError when the experiment
/// is not understood.
TrainedModel load_trained_model(const std::filesystem::path& source, const LoadModelOptions& options = {});

/// The tokenizer that models with so many tokens usually have, as a sentence for people; "" for other sizes.
std::string usual_tokenizer(std::int64_t vocabulary);
/// The kind of that tokenizer (Tokenizer::kind); "" for other sizes.
std::string_view usual_tokenizer_kind(std::int64_t vocabulary);

}  // namespace rwkvlab
