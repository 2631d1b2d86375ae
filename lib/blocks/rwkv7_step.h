// One token of RWKV-7's time mix, straight on the kernels (blocks/token_step.h); blocks/rwkv7.cpp has the equations.
#pragma once

#include <array>
#include <cstdint>

#include "autograd/ops/linear.h"
#include "blocks/token_step.h"
#include "nn/layers.h"

namespace rwkvlab {

/// offset + f(x first) second
struct Rwkv7Adapter {
  Parameter *offset = nullptr, *first = nullptr, *second = nullptr;
  Var inner(const Var& x) const { return project(x, first->var); }
  Var outer(const Var& h) const { return project(h, second->var, offset != nullptr ? offset->var : Var()); }
};

/// The parts of a time mix that a step reads: all of them, but the value's adapter, which the first layer does not
/// have.
struct Rwkv7Parts {
  std::int64_t heads = 0, head_size = 0;
  double fastest_log_decay = 0, rate_limit = 1, epsilon = 0;
  const Linear *receptance = nullptr, *key = nullptr, *value = nullptr, *output = nullptr;
  Rwkv7Adapter decay, rate, gate, value_gate;
  const Parameter *key_scale = nullptr, *key_boost = nullptr, *bonus = nullptr;
  const GroupNorm* norm = nullptr;

  std::int64_t width() const { return heads * head_size; }
};

/// A token of each of a few sequences, on its way through a step.
struct Rwkv7Token {
  std::int64_t sequences = 0;
  /// What the projections see, [sequences, width].
  const float *receptance = nullptr, *key = nullptr, *value = nullptr, *decay = nullptr, *rate = nullptr,
              *gate = nullptr;
  const float* first_value = nullptr;  ///< of the first layer, the same shape; null: none
  const float* state = nullptr;        ///< [sequences, heads, head_size, head_size]
  float* next_state = nullptr;         ///< in place of `state` if wished
  float* own_value = nullptr;          ///< out [sequences, width]: v before the residual
  float* y = nullptr;                  ///< out [sequences, width]
};

/// Computes what Rwkv7TimeMix::forward() does for a token, from stored weights.
class Rwkv7Step {
 public:
  explicit Rwkv7Step(const Rwkv7Parts& parts) : parts_(parts) {}

  /// Names the weights in the order in which a step reads them.
  void survey(StoredWeights::Survey& survey) const;
  /// Whether all of them are stored. Looked up once for all steps, as StepRows does.
  bool find(const StoredWeights& stored);
  /// Lines of StepMemory that run() takes for so many sequences. After find().
  std::int64_t lines(std::int64_t sequences) const;
  /// After find().
  void run(const Rwkv7Token& token, StepMemory& memory) const;

 private:
  // Products in the order in which they read their weights: those of the token, the adapters' second ones, the output.
  // What stands at their end in the first two, the adapter of the value, may be missing.
  static constexpr std::size_t of_token = 7, of_adapters = 4;
  struct Weights {
    std::array<kernels::StoredRows, of_token> token;
    std::array<kernels::StoredRows, of_adapters> adapters;
    kernels::StoredRows output;
  };
  bool mixes_value() const { return parts_.value_gate.first != nullptr; }
  std::size_t adapters() const { return mixes_value() ? of_adapters : of_adapters - 1; }
  template <class Stored, class Use>
  void each_weight(Stored& weights, const Use& use) const;

  Rwkv7Parts parts_;
  const StoredWeights* found_in_ = nullptr;
  Weights weights_;
};

}  // namespace rwkvlab
