// The short way through a mixer for one token of generation: straight on the kernels, without operations and without
// tensors between them, which would take as long as a fifth of the weights. A mixer that offers one computes the same
// as its forward() does otherwise, up to the order of sums.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "autograd/stored_weights.h"
#include "nn/layers.h"

namespace rwkvlab {

/// The weights of the pass if it may go the short way, else null: one token for each of a few sequences, in float32,
/// from a state to a state, with stored weights, and nobody who records, watches or measures what is between.
const StoredWeights* weights_for_step(const Var& x, const ForwardContext& context);

/// While weights are surveyed (StoredWeights::Survey), names linear layers in the order in which a step reads them,
/// where that is not the order of forward().
void survey_step_order(std::initializer_list<const Linear*> layers);

/// What is stored for some linear layers, in their order. Looked up once for all steps: what a step has to find in
/// memory is cold, because the weights of a token push all else out of the caches.
template <std::size_t count>
class StepRows {
 public:
  /// Null if one of the layers' weights is not stored.
  const std::array<kernels::StoredRows, count>* find(const StoredWeights& weights,
                                                     const std::array<const Linear*, count>& layers) {
    const kernels::StoredRows* const first = weights.find(layers[0]->weight().value(), false);
    if (first == nullptr) return nullptr;
    if (of_ == &weights && rows_[0].words == first->words) return &rows_;
    of_ = nullptr;
    for (std::size_t i = 0; i < count; ++i) {
      const kernels::StoredRows* const found = weights.find(layers[i]->weight().value(), false);
      if (found == nullptr) return nullptr;
      rows_[i] = *found;
    }
    of_ = &weights;
    return &rows_;
  }

 private:
  const StoredWeights* of_ = nullptr;
  std::array<kernels::StoredRows, count> rows_;
};

/// Asks memory for a vector that is needed soon: several at once arrive in little more time than one.
inline void ask_for(const float* x, std::int64_t count) {
  constexpr std::int64_t line = 16;
  for (std::int64_t i = 0; i < count; i += line) __builtin_prefetch(x + i);
}

/// Vectors that live as long as a step, each on cache lines of its own.
class StepMemory {
 public:
  explicit StepMemory(std::int64_t lines) : memory_(Tensor::empty({lines * line})), next_(memory_.data<float>()) {}
  /// Lines that `count` numbers take.
  static constexpr std::int64_t lines(std::int64_t count) { return (count + line - 1) / line; }
  float* take(std::int64_t count) {
    float* const taken = next_;
    next_ += lines(count) * line;
    return taken;
  }

 private:
  static constexpr std::int64_t line = 16;
  Tensor memory_;
  float* next_;
};

}  // namespace rwkvlab
