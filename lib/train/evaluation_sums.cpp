#include "train/evaluation_sums.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace rwkvlab {

EvaluationSums::Sums* EvaluationSums::sums_of(const std::string& set) {
  if (set.empty()) return nullptr;
  const auto found =
      std::find_if(sets_.begin(), sets_.end(), [&](const NamedSums& known) { return known.name == set; });
  return found != sets_.end() ? &found->sums : &sets_.emplace_back(NamedSums{set, {}}).sums;
}

template <class Real>
void EvaluationSums::add_rows(const CrossEntropyLoss& loss, const Tensor& logits, const Batch& batch, Sums* of_set) {
  const std::span<const Real> losses = loss.row_losses.span<Real>(), values = logits.span<Real>();
  const std::span<const std::int64_t> targets = batch.targets.span<std::int64_t>();
  const auto time = static_cast<std::size_t>(batch.targets.shape()[-1]);
  const auto vocabulary = static_cast<std::size_t>(logits.shape()[-1]);
  if (by_position_ && positions_.size() < time) positions_.resize(time);
  const bool counted_only = static_cast<std::size_t>(logits.shape().rows()) < targets.size();
  std::size_t counted = 0;
  for (std::size_t row = 0; row < targets.size(); row += time) {
    Sums sums;
    std::int64_t right = 0;
    for (std::size_t i = row; i < row + time; ++i) {
      if (targets[i] == no_target) continue;
      const std::size_t at = counted_only ? counted++ : i;
      const std::span<const Real> scores = values.subspan(at * vocabulary, vocabulary);
      const bool is_right = std::max_element(scores.begin(), scores.end()) - scores.begin() == targets[i];
      const auto nats = static_cast<double>(losses[at]);
      sums.nats += nats;
      ++sums.tokens;
      right += is_right ? 1 : 0;
      if (!by_position_) continue;
      Position& position = positions_[i - row];
      position.nats += nats;
      ++position.tokens;
      position.right += is_right ? 1 : 0;
    }
    if (sums.tokens == 0) continue;
    for (Sums* const total : {&all_, of_set}) {
      if (total == nullptr) continue;
      total->nats += sums.nats;
      total->tokens += sums.tokens;
      total->row_accuracies += static_cast<double>(right) / static_cast<double>(sums.tokens);
      ++total->rows;
    }
  }
}

void EvaluationSums::add(const CrossEntropyLoss& loss, const Tensor& logits, const Batch& batch) {
  bytes_ += batch.source_bytes;
  characters_ += batch.source_characters;
  Sums* const of_set = sums_of(batch.evaluation_set);
  for_real(logits.dtype(), [&]<class Real>(Real) { add_rows<Real>(loss, logits, batch, of_set); });
}

Evaluation EvaluationSums::result() const {
  Evaluation evaluation;
  evaluation.tokens = all_.tokens;
  evaluation.bytes = bytes_;
  evaluation.loss = all_.loss();
  const double bits = all_.nats / std::numbers::ln2;
  if (bytes_ > 0) evaluation.bits_per_byte = bits / static_cast<double>(bytes_);
  if (characters_ > 0) evaluation.bits_per_character = bits / static_cast<double>(characters_);
  if (all_.rows > 0) evaluation.accuracy = all_.accuracy();
  for (const auto& [name, sums] : sets_) {
    evaluation.sets.push_back({name, sums.loss(), sums.accuracy(), sums.tokens});
  }
  for (const Position& position : positions_) {
    const auto count = position.tokens > 0 ? static_cast<double>(position.tokens) : std::nan("");
    evaluation.loss_by_position.push_back(position.nats / count);
    evaluation.accuracy_by_position.push_back(static_cast<double>(position.right) / count);
  }
  return evaluation;
}

}  // namespace rwkvlab
