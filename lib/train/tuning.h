// What of a model a training changes: all of it, low-rank adapters beside its matrices, or the state that sequences
// start from.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/registry.h"
#include "train/checkpoint.h"
#include "train/optimizer.h"

namespace rwkvlab {

/// What a tuning is made for. A model with memory holds the weights that the training starts from; one without is only
/// looked at. It must outlive the tuning.
struct TuningSite {
  Module* model = nullptr;
  ParameterPolicy policy = {};
  std::uint64_t seed = 1;  ///< of the adapters' initial values
};

/// Kinds of the slot "tune". Parameters that are not trained are constants in the model from here on: no gradient is
/// computed for them.
class Tuning {
 public:
  virtual ~Tuning() = default;

  /// What the optimiser changes.
  const std::vector<TrainedParameter>& parameters() const { return trained_; }
  /// Parameters of the model whose gradient is not needed.
  const std::vector<Parameter*>& frozen() const { return frozen_; }
  /// Whether checkpoints hold what is trained alone, beside the weights that the training started from.
  bool keeps_base() const { return keeps_base_; }
  /// Elements that are kept beside the model: adapters, and the weights that they are added to.
  virtual std::int64_t elements_beside_model() const { return 0; }

  /// After the backward passes of a step: gradients of the model's weights become those of parameters().
  virtual void collect_gradients() {}
  /// After parameters() changed: the model follows.
  virtual void update() {}

  /// What a checkpoint holds, sharing memory with the training. Of a model with memory.
  std::vector<NamedTensor> tensors() const;
  /// What the checkpoint's metadata say besides; empty for whole models.
  std::map<std::string, std::string> metadata() const;
  /// Reads what a checkpoint holds. Throws DataError for tensors that do not fit, and for one that was made with other
  /// base weights.
  void load(const TensorFile& file);

 protected:
  Tuning(const TuningSite& site, bool keeps_base);
  void train(const TrainedParameter& parameter) { trained_.push_back(parameter); }
  void freeze(Parameter& parameter);
  Module& model() const { return *model_; }
  bool has_memory() const;

 private:
  Module* model_;
  bool keeps_base_;
  std::string base_;  // which weights the training started from; empty: not kept, or without memory
  std::vector<TrainedParameter> trained_;
  std::vector<Parameter*> frozen_;
};

/// Throws ConfigError for patterns that match nothing, naming the nearest parameter, and when nothing is left to train.
std::unique_ptr<Tuning> make_tuning(const Choice& choice, const TuningSite& site);

/// Whether the kind keeps the weights it starts from, so that it needs some.
bool tunes_base_weights(const Choice& choice);

/// Whether a file holds what a tuning trained and not the weights beside it.
bool holds_tuning_alone(const TensorFile& file);

}  // namespace rwkvlab
