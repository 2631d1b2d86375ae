// Checkpoints: folders "step-00000500" that hold all that a training needs to go on, bit for bit.
//
//   model.safetensors          parameters under their official names, F32; metadata: format, step, config, vocabulary.
//                              Of a tuning that keeps its base: what is trained alone, and which weights that belongs
//                              to
//   optimizer.safetensors      "m.<parameter>", "v.<parameter>", "steps"
//   state.json                 step, tokens seen, seed, data position, what was still to do
//   carried_state.safetensors  the recurrent state, when training carries one
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nn/module.h"
#include "tensor/safetensors.h"
#include "train/objective.h"
#include "train/optimizer.h"

namespace rwkvlab {

/// What "format" says in the metadata of this program's checkpoints.
inline constexpr std::string_view checkpoint_format = "rwkvlab-checkpoint/1";

/// Where a training stands.
struct TrainingPosition {
  std::int64_t step = 0;           ///< finished optimiser steps
  std::int64_t micro_batches = 0;  ///< the data's position: index of the next micro-batch
  std::int64_t tokens_seen = 0;
  std::uint64_t seed = 0;
  bool evaluation_due = false;  ///< interrupted before an evaluation that belongs to `step`
  bool goal_reached = false;    ///< the accuracy that ends the training was reached
};

/// Texts stored with the weights, so that a checkpoint explains itself.
struct CheckpointTexts {
  std::string config;      ///< resolved experiment file
  std::string vocabulary;  ///< JSON; empty when there is none
};

class Tuning;

/// The checkpoints of one training, in one folder.
class CheckpointFolder {
 public:
  /// `keep`: how many of the newest stay, at least 1; 0: all. Nothing is touched before the first write.
  CheckpointFolder(std::filesystem::path folder, int keep) : folder_(std::move(folder)), keep_(keep) {}

  const std::filesystem::path& path() const { return folder_; }
  /// Writes and publishes "step-…" atomically, then removes the oldest ones. Throws FileError; whatever was there
  /// before is then still there.
  /// Without a tuning, the whole model is stored.
  std::filesystem::path write(const TrainingPosition& position, const CheckpointTexts& texts, Objective& objective,
                              const Optimizer& optimizer, const Tuning* tuning = nullptr);
  /// All finished checkpoints, oldest first. What a crash left half-written is not among them.
  std::vector<std::filesystem::path> list() const;
  /// The newest checkpoint whose files are whole; `skipped` gets a sentence for each damaged one that was passed over.
  /// Throws DataError when there are only damaged ones.
  std::optional<std::filesystem::path> newest(std::vector<std::string>* skipped = nullptr) const;

 private:
  std::filesystem::path folder_;
  int keep_;
};

/// Puts a checkpoint into an objective and its optimiser. Throws DataError naming the file and the remedy.
TrainingPosition read_checkpoint(const std::filesystem::path& checkpoint, Objective& objective, Optimizer& optimizer,
                                 Tuning* tuning = nullptr);

struct LoadOptions {
  std::string prefix;                   ///< of the tensors in the file: "param." in reference cases
  bool ignore_unexpected = false;       ///< skip tensors that the model does not have
  bool may_lack_initial_state = false;  ///< where the file has no initial state to learn, the model's stays
  bool must_be_finite = false;          ///< refuse a file with NaN or infinite weights
};

/// Reads every parameter of an allocated model, converted to the model's type as it is read. Shapes may differ in
/// dimensions of size 1 ([1, 1, D] for [D]); mask buffers of official checkpoints are skipped. Throws DataError listing
/// the parameters that are missing, have other shapes, or are unexpected (tensors without the prefix do not count), or
/// naming the first one that is not finite.
void load_weights(Module& model, const TensorFile& file, const LoadOptions& options = {});

/// The checks of load_weights on names and shapes, for a model that need not have memory.
void check_weights(const Module& model, const TensorFile& file, const LoadOptions& options = {});
/// What load_weights does for one parameter, once check_weights has found nothing; `into` has the parameter's shape.
void read_weight(const Parameter& parameter, const Tensor& into, const TensorFile& file, const LoadOptions& options);

/// The file with the weights that a path names: a safetensors or .pth file itself, a checkpoint folder, a folder of
/// checkpoints, or a run folder with "checkpoints" in it (the newest). Throws DataError saying what was looked for.
std::filesystem::path weights_file(const std::filesystem::path& path);

/// The parameters of an allocated model under their official names.
std::vector<NamedTensor> weights_of(const Module& model);

/// Writes them as a safetensors file, with `metadata`.
void save_weights(const Module& model, const std::filesystem::path& path,
                  const std::map<std::string, std::string>& metadata = {});

}  // namespace rwkvlab
