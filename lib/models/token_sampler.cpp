#include "models/token_sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace rwkvlab {
namespace {

void check_range(const char* option, double value, double least, double most) {
  if (value >= least && value <= most) return;
  throw ConfigError(std::isfinite(most) ? fmt::format("{} is {:g}; expected {:g} to {:g}", option, value, least, most)
                                        : fmt::format("{} is {:g}; expected a number from {:g}", option, value, least));
}

}  // namespace

void check_sampling(const SamplingParams& sampling, const PenaltyParams& penalties) {
  const double any = HUGE_VAL;
  check_range("--temperature", sampling.temperature, 0, 1e6);
  check_range("--top-p", sampling.top_p, 0, 1);
  check_range("--top-k", static_cast<double>(sampling.top_k), 0, any);
  check_range("--presence-penalty", penalties.presence, -1e6, 1e6);
  check_range("--frequency-penalty", penalties.frequency, -1e6, 1e6);
  check_range("--penalty-decay", penalties.decay, 0, 1);
}

TokenSampler::TokenSampler(const SamplingParams& sampling, const PenaltyParams& penalties, std::uint64_t seed,
                           std::int64_t sequence, std::function<bool(std::int64_t)> is_counted)
    : sampling_(sampling),
      penalties_(penalties),
      random_(seed, fmt::format("generate/{}", sequence)),
      is_counted_(std::move(is_counted)) {
  // Rounding may keep the running sum below 1, which would leave the most probable token alone.
  sampling_.top_p = std::min(sampling_.top_p, 1 - 1e-9);
}

void TokenSampler::penalise(std::vector<double>& logits) const {
  if (penalties_.presence == 0 && penalties_.frequency == 0) return;
  for (const auto& [token, count] : counts_) {
    logits[static_cast<std::size_t>(token)] -= penalties_.presence + penalties_.frequency * count;
  }
}

void TokenSampler::count(std::int64_t token) {
  const double one = is_counted_ && !is_counted_(token) ? 0 : 1;
  for (auto& [other, count] : counts_) count *= penalties_.decay;
  const auto found =
      std::find_if(counts_.begin(), counts_.end(), [=](const auto& entry) { return entry.first == token; });
  if (found == counts_.end()) {
    counts_.emplace_back(token, one);
  } else {
    found->second += one;
  }
}

std::int64_t TokenSampler::draw(std::span<const float> logits, std::int64_t position) {
  std::vector<double> scores(logits.begin(), logits.end());
  penalise(scores);
  std::int64_t token = 0;
  if (sampling_.temperature == 0) {
    if (std::any_of(logits.begin(), logits.end(), [](float x) { return !std::isfinite(x); })) {
      throw DataError("sampling: a logit is NaN or infinite");
    }
    token = std::max_element(scores.begin(), scores.end()) - scores.begin();
  } else {
    const std::vector<double> probabilities = sampling_probabilities(scores, sampling_);
    token = draw_token(probabilities, random_.uniform(static_cast<std::uint64_t>(position)));
  }
  count(token);
  return token;
}

}  // namespace rwkvlab
