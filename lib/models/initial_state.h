// Where sequences learn to start: parameters for the pieces of a model's state.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "nn/module.h"

namespace rwkvlab {

/// Whether a parameter is the initial value of a piece of state: "<piece>.initial", or the official "time_state".
bool is_initial_state(const Parameter& parameter);

/// The learned initial values of a model's pieces of state. They are the root's own parameters, so that no block knows
/// of them.
class LearnedState {
 public:
  /// Declares a parameter "<piece>.initial" in `root` for every piece of a fixed size in its child `name`, unless the
  /// piece learns its start by itself. The tree has no full names yet. A sequence starts as before, but that a
  /// logarithm of nothing (the exponent of RWKV-4's state, whose sums are 0) is 0, where gradients can move the sums.
  void declare(Module& root, const std::string& name, const Module& child);
  bool empty() const { return parameters_.empty(); }
  /// The start of `batch` sequences, all pieces of `root`.
  State start(const Module& root, std::int64_t batch, DType type) const;

 private:
  std::vector<std::pair<std::string, const Parameter*>> parameters_;  // by the name of the piece
};

}  // namespace rwkvlab
