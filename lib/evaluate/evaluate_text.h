// Perplexity and bits per byte of a text.
#pragma once

#include <cstdint>
#include <vector>

#include "data/token_text.h"
#include "evaluate/target_scores.h"

namespace rwkvlab {

struct TextEvaluationOptions {
  std::int64_t context = 1024;  ///< tokens that the model reads at a time
  /// Tokens from one window to the next, 1 to context; 0: context, so that windows do not overlap. A token is scored in
  /// the first window that holds it, where at least context - stride tokens stand before it (except at the beginning).
  std::int64_t stride = 0;
  /// Windows do not begin anew but go on from the state that the one before left, so that every token is predicted from
  /// all of the text before it. Needs a model with a state of constant size.
  bool carry_state = false;
  std::int64_t streams = 1;           ///< with carry_state: equal parts of the text that are read side by side
  std::int64_t tokens_per_batch = 0;  ///< windows share a batch of about so many tokens; 0: usual_batch()
  std::int64_t limit = 0;             ///< at most so many tokens of the text; 0: all
};

struct TextEvaluation {
  std::int64_t tokens = 0;  ///< that were scored: all but the first of the text, or of each stream
  std::int64_t bytes = 0;   ///< that they stand for
  double loss = 0;          ///< mean nats per token
  double accuracy = 0;      ///< share of tokens that have the largest logit
  /// Mean nats by the number of tokens read before, from 1: [context]; with carry_state of each window in turn:
  /// [windows of a stream].
  std::vector<double> loss_by_position;

  double perplexity() const;
  double bits_per_token() const;
  double bits_per_byte() const;  ///< 0 when the tokens stand for no bytes
};

/// Throws ConfigError for options that do not fit, or that do not fit the model; DataError for a text of less than two
/// tokens or with a token outside the model's vocabulary.
TextEvaluation evaluate_text(const LanguageModel& model, const TokenText& text, const TextEvaluationOptions& options,
                             const EvaluationProgress& progress = {});

}  // namespace rwkvlab
