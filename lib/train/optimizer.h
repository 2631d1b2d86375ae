// Optimisers, and which rate and decay each parameter gets.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/registry.h"
#include "nn/module.h"
#include "tensor/safetensors.h"

namespace rwkvlab {

/// A user's rule for the parameters whose official names match a pattern (`*`, `?`; a `*` also crosses dots). What is
/// left out keeps the block's rule.
struct ParameterGroup {
  std::string match;
  std::optional<double> learning_rate_scale;  ///< in place of the block's scale
  std::optional<bool> weight_decay;
  std::optional<bool> freeze;
};

void describe(Fields<ParameterGroup>& f);

/// Which rules apply to the parameters of a model.
struct ParameterPolicy {
  bool layerwise_learning_rate = true;  ///< use the blocks' own learning-rate scales; false: 1 for all
  bool warm_up_stage = false;           ///< use the scales of the first stage of staged training
  std::vector<ParameterGroup> groups;   ///< the last group that matches and sets a property decides it
};

/// A parameter with its final rules.
struct TrainedParameter {
  Parameter* parameter = nullptr;
  double learning_rate_scale = 1;
  bool weight_decay = false;
};

/// Throws ConfigError, naming the option and the nearest parameter, when no name matches the pattern.
void require_match(const std::string& option, const std::string& pattern, const std::vector<Parameter*>& parameters);

/// The parameters to train, in the model's order. Frozen ones are left out and made constant in the model, so that no
/// gradient is computed for them (of a module that is not allocated yet, they stay as they are). Throws ConfigError for
/// a pattern that matches nothing, naming the nearest parameter.
std::vector<TrainedParameter> trained_parameters(Module& model, const ParameterPolicy& policy);

/// What an optimiser needs to know about one step.
struct OptimizerStep {
  double learning_rate = 0;
  double progress = 0;         ///< of the schedule; weight decay follows it
  double gradient_factor = 1;  ///< of accumulation and clipping, multiplied into every gradient
};

/// Kinds of the slot "optimizer". Changes the parameters in place, in float32 or float64 as they are.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One update from the gradients that the parameters hold. A parameter without a gradient is skipped: value, moments
  /// and its own step count stay, as in PyTorch.
  virtual void step(const OptimizerStep& step) = 0;
  /// The state in a fixed order, sharing memory with the optimiser. AdamW: "m.<parameter>", "v.<parameter>" and
  /// "steps", int64 [parameters].
  virtual std::vector<NamedTensor> state() const = 0;
  /// Reads what state() gave. Throws DataError naming what is missing or has another shape.
  virtual void load_state(const SafetensorsFile& file) = 0;
};

/// AdamW (arXiv:1412.6980, arXiv:1711.05101): with g the scaled gradient, s the parameter's learning-rate scale, λ the
/// weight decay of this step (0 for parameters that do not decay) and m̂, v̂ the bias-corrected moments,
///   p -= lr · s · (m̂ / (√v̂ + epsilon) + λ p).
/// λ = 0 is Adam. Parameters are streamed through once; nothing is allocated after construction.
struct AdamWParams {
  double beta1 = 0.9;
  double beta2 = 0.99;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double weight_decay_final = 0;  ///< > 0: weight decay moves there as the schedule progresses
};

void describe(Fields<AdamWParams>& f);

std::unique_ptr<Optimizer> make_adamw(const AdamWParams& params, const std::vector<TrainedParameter>& parameters);
std::unique_ptr<Optimizer> make_optimizer(const Choice& choice, const std::vector<TrainedParameter>& parameters);

/// √Σ g² over all parameters, in float64 and in a fixed order: the same for every thread count.
double gradient_norm(const std::vector<TrainedParameter>& parameters);
/// min(1, max_norm / (norm + 1e-6)), PyTorch's clipping factor; 1 when max_norm is 0 (no clipping).
double clip_factor(double norm, double max_norm);
void clear_gradients(const std::vector<TrainedParameter>& parameters);

}  // namespace rwkvlab
