// What is trained: a model with the data and the loss it is trained on. The loop sees nothing else.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/registry.h"
#include "nn/module.h"

namespace rwkvlab {

class DataSet;

/// What an objective is built from. The objects must outlive it.
struct ObjectiveSite {
  Module* model = nullptr;
  const DataSet* data = nullptr;
  int batch = 0;    ///< rows of a micro-batch
  int context = 0;  ///< tokens of a row
};

/// Forward pass of one micro-batch.
struct StepResult {
  Var loss;  ///< scalar, mean over the counted tokens
};

struct EvaluationRequest {
  std::int64_t batches = 0;  ///< at most so many; 0: all held-out data
  int batch = 0;             ///< rows; 0: as in training
  int context = 0;           ///< tokens of a row; 0: as in training
  /// Read one row at a time, each going on from the state that the row before left; false: every row starts from the
  /// empty state.
  bool carry_state = false;
  bool by_position = false;  ///< also the mean loss and the accuracy at each position of a row
};

/// What a loss is measured in, what it is the mean over, and what the training counts.
struct LossMeasure {
  std::string loss = "nats";
  std::string counted = "token";  ///< or image, pixel, patch
  std::string read = "tokens";    ///< what steps and speeds count: or images
  std::string text() const { return loss + " per " + counted; }
};

/// A number of an evaluation besides loss and accuracy.
struct HeldOutMetric {
  std::string name;  ///< as the run file has it, below metrics/eval
  double value = 0;
  std::string unit, description;
};

/// What the evaluation says of one set of examples.
struct EvaluatedSet {
  std::string name;
  double loss = 0;      ///< mean per counted token, or what LossMeasure::counted says
  double accuracy = 0;  ///< as Evaluation::accuracy
  std::int64_t tokens = 0;
};

/// Result of a pass over held-out data.
struct Evaluation {
  LossMeasure unit;
  double loss = 0;                ///< mean, in this unit
  double bits_per_byte = 0;       ///< Σ nats / ln 2 / bytes of the source text; 0 when the data knows no bytes
  double bits_per_character = 0;  ///< the same over its UTF-8 characters
  std::int64_t tokens = 0;        ///< that count, or images, pixels, patches
  std::int64_t bytes = 0;
  /// Each row's share of counted tokens whose target has the largest logit of all (the first of equal ones), averaged
  /// over the rows that have counted tokens.
  std::optional<double> accuracy;
  std::vector<HeldOutMetric> metrics;
  std::vector<EvaluatedSet> sets;  ///< in the order of the data; empty when there is only one
  /// [time], nats and share of right answers; empty unless asked for. NaN where no token counts.
  std::vector<double> loss_by_position, accuracy_by_position;
};

/// Kinds of the slot "objective".
class Objective {
 public:
  virtual ~Objective() = default;
  virtual Module& model() = 0;
  /// Forward of micro-batch `index`, counted from 0 over the whole training; records on the current tape. Of the
  /// context, probes, listener, training, seed, step and state_out (if the final state is wanted) are used. Moves the
  /// carried state on to `index` + 1.
  virtual StepResult forward(std::int64_t index, const ForwardContext& context) = 0;
  /// The state that the next micro-batch starts from; empty when none is carried.
  virtual const State& carried_state() const = 0;
  virtual void set_carried_state(State state) = 0;
  /// Mean loss and accuracy on held-out data. Leaves the carried state as it is. Throws ConfigError when there is no
  /// held-out data, or when a state is to be carried between examples that have nothing to do with each other.
  virtual Evaluation evaluate(const EvaluationRequest& request) = 0;
  virtual bool can_evaluate() const = 0;
  virtual LossMeasure unit() const { return {}; }
};

std::unique_ptr<Objective> make_objective(const Choice& choice, const ObjectiveSite& site);

}  // namespace rwkvlab
