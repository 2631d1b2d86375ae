// The objective of language models: predict the next token of a text, or the answers of a task.
#pragma once

#include "train/objective.h"

namespace rwkvlab {

/// Kind `language_modelling` of the slot "objective".
struct LanguageModellingParams {
  /// Factor of L2Wrap: the gradient of the logits gets max_logit · l2wrap / rows at the largest logit of every row. 0:
  /// off.
  double l2wrap = 1e-4;
  /// Truncated back-propagation through time: a micro-batch starts from the state that the one before left, wherever
  /// the data goes on where it stopped. Needs sequential data.
  bool carry_state = false;
};

void describe(Fields<LanguageModellingParams>& f);

/// Why `eval.carry_state` does not go with the examples of a task.
inline constexpr const char* no_state_between_examples =
    "carry_state reads the held-out rows as one sequence, but every row of this data is an example of its own; set "
    "eval.carry_state: false";

/// Throws ConfigError, naming `option`, when a piece of the model's state grows with the sequence, as the cache of
/// attention does: carried from batch to batch it would never stop.
void refuse_growing_state(const Module& model, const std::string& option);

/// Throws ConfigError when the model is no language model or cannot carry a state that is asked for.
std::unique_ptr<Objective> make_language_modelling(const LanguageModellingParams& params, const ObjectiveSite& site);

}  // namespace rwkvlab
