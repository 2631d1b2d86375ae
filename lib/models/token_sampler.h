// The next token of a sequence that is being generated: penalties for what was said before, then a draw.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "base/random.h"
#include "models/sampling.h"

namespace rwkvlab {

struct PenaltyParams {
  double presence = 0;   ///< taken from the logit of every token that was generated before
  double frequency = 0;  ///< taken once per time that it was
  double decay = 0.996;  ///< of these counts, per generated token, in [0, 1]
};

/// Throws ConfigError for values out of range, naming the option.
void check_sampling(const SamplingParams& sampling, const PenaltyParams& penalties);

/// Draws the tokens of one sequence, as the text generator of ChatRWKV does:
///   logits[n] -= presence + frequency count[n]   for every token n that was generated before,
///   a draw from sampling_probabilities(),
///   count *= decay, and the drawn token counts one more, unless it is white space or digits (`is_counted`).
/// Temperature 0 takes the most probable token, the first of equals, without a draw; top_p = 1 keeps
/// all but a billionth of the probability.
class TokenSampler {
 public:
  /// `is_counted`: whether a token adds to its count; empty: all do.
  TokenSampler(const SamplingParams& sampling, const PenaltyParams& penalties, std::uint64_t seed,
               std::int64_t sequence, std::function<bool(std::int64_t)> is_counted = {});

  /// The draw number `position` of the sequence: depends on the seed, the sequence, the position and the logits alone.
  /// Throws DataError for logits that are not finite.
  std::int64_t draw(std::span<const float> logits, std::int64_t position);

 private:
  void penalise(std::vector<double>& logits) const;
  void count(std::int64_t token);

  SamplingParams sampling_;
  PenaltyParams penalties_;
  RandomStream random_;
  std::function<bool(std::int64_t)> is_counted_;
  std::vector<std::pair<std::int64_t, double>> counts_;
};

}  // namespace rwkvlab
