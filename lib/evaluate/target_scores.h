// What a model says about tokens that are known: the measure behind every evaluation.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/language_model.h"

namespace rwkvlab {

/// How one token was predicted.
struct TargetScore {
  double nats = 0;        ///< -log of its probability
  bool is_first = false;  ///< it has the largest logit of all, the first of equal ones
};

/// Scores of the targets that count (those that are not no_target), row by row. tokens, targets: int64 [batch, time].
/// Of `context` the states are of use.
std::vector<TargetScore> score_targets(const LanguageModel& model, const Tensor& tokens, const Tensor& targets,
                                       const ForwardContext& context = {});

/// A text to be predicted, and what stands before it.
struct Continuation {
  std::vector<std::int64_t> context;  ///< at least one token
  std::vector<std::int64_t> target;   ///< may be empty
};

struct ContinuationScore {
  double log_probability = 0;  ///< sum over the tokens of the target, nats
  bool is_greedy = true;       ///< every token of the target is the most probable one
};

struct ScoringOptions {
  std::int64_t tokens_per_batch = 0;  ///< rows of similar length share a batch of about so many; 0: usual_batch()
  std::int64_t longest = 0;  ///< contexts are cut at their beginning so that no row has more tokens; 0: no limit
};

/// Tokens of a batch: 4096, or fewer for a large vocabulary, whose logits would take more than 256 MiB.
std::int64_t usual_batch(const LanguageModel& model);

/// Told how much of an evaluation is done.
using EvaluationProgress = std::function<void(std::int64_t done, std::int64_t all)>;

/// Scores continuations, many in one pass. The result does not depend on how they are batched beyond rounding. Throws
/// DataError for an empty context, a token outside the model's vocabulary, and a target without room for its context.
std::vector<ContinuationScore> score_continuations(const LanguageModel& model, std::span<const Continuation> items,
                                                   const ScoringOptions& options = {},
                                                   const EvaluationProgress& progress = {});

/// Tokens that a model can read at once: 0 where there is no limit, as in every RWKV.
std::int64_t longest_input(const LanguageModel& model);

}  // namespace rwkvlab
