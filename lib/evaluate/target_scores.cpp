#include "evaluate/target_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "autograd/ops/cross_entropy.h"
#include "base/error.h"
#include "data/data_set.h"
#include "kernels/parallel.h"

namespace rwkvlab {
namespace {

// Whether the target has the largest logit, the first of equal ones.
template <class Real>
bool is_first(std::span<const Real> logits, std::int64_t target) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin() == target;
}

// The row of a batch: everything but the last token goes in, and the tokens of the target are asked for.
struct Row {
  std::vector<std::int64_t> tokens;
  std::size_t first_target = 0;  // place in `tokens` of the first that is asked for
};

Row make_row(const Continuation& item, std::size_t number, const ScoringOptions& options, std::int64_t vocabulary) {
  if (item.context.empty()) throw DataError(fmt::format("continuation {}: there is no token to start from", number));
  std::size_t cut = 0;
  const std::size_t whole = item.context.size() + item.target.size() - 1;
  if (const auto longest = static_cast<std::size_t>(options.longest); longest > 0 && whole > longest) {
    cut = whole - longest;
    if (cut >= item.context.size()) {
      throw DataError(
          fmt::format("continuation {} has {} tokens, the model reads {}", number, item.target.size(), longest));
    }
  }
  Row row;
  row.tokens.assign(item.context.begin() + static_cast<std::ptrdiff_t>(cut), item.context.end());
  row.first_target = row.tokens.size();
  row.tokens.insert(row.tokens.end(), item.target.begin(), item.target.end());
  for (const std::int64_t token : row.tokens) {
    if (token >= 0 && token < vocabulary) continue;
    throw DataError(
        fmt::format("continuation {}: the token {} is outside the {} of the model; is the tokenizer another one?",
                    number, token, vocabulary));
  }
  return row;
}

void score_batch(const LanguageModel& model, std::span<const Row> rows, std::span<ContinuationScore* const> scores) {
  std::size_t longest = 0;
  for (const Row& row : rows) longest = std::max(longest, row.tokens.size() - 1);
  const Shape shape{static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(longest)};
  const Tensor tokens = Tensor::zeros(shape, DType::i64);
  const Tensor targets = Tensor::full(shape, static_cast<double>(no_target), DType::i64);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const Row& row = rows[r];
    std::copy(row.tokens.begin(), row.tokens.end() - 1, tokens.data<std::int64_t>() + r * longest);
    std::copy(row.tokens.begin() + static_cast<std::ptrdiff_t>(row.first_target), row.tokens.end(),
              targets.data<std::int64_t>() + r * longest + row.first_target - 1);
  }
  const std::vector<TargetScore> each = score_targets(model, tokens, targets);
  auto score = each.begin();
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t i = rows[r].first_target; i < rows[r].tokens.size(); ++i, ++score) {
      scores[r]->log_probability -= score->nats;
      scores[r]->is_greedy = scores[r]->is_greedy && score->is_first;
    }
  }
}

}  // namespace

std::vector<TargetScore> score_targets(const LanguageModel& model, const Tensor& tokens, const Tensor& targets,
                                       const ForwardContext& context) {
  const TargetLogits scored = model.target_logits(tokens, targets, context);
  const Tensor& logits = scored.logits.value();
  const Tensor losses = cross_entropy(scored.logits, scored.targets).row_losses;
  const std::span<const std::int64_t> wanted = scored.targets.span<std::int64_t>();
  const auto vocabulary = static_cast<std::size_t>(logits.shape()[-1]);
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] != no_target) rows.push_back(i);
  }
  std::vector<TargetScore> scores(rows.size());
  for_real(logits.dtype(), [&]<class Real>(Real) {
    const std::span<const Real> values = logits.span<Real>(), nats = losses.span<Real>();
    kernels::parallel_for(static_cast<kernels::Index>(rows.size()), 16, [&](kernels::Index begin, kernels::Index end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        const std::size_t row = rows[i];
        scores[i] = {static_cast<double>(nats[row]),
                     is_first<Real>(values.subspan(row * vocabulary, vocabulary), wanted[row])};
      }
    });
  });
  return scores;
}

std::vector<ContinuationScore> score_continuations(const LanguageModel& model, std::span<const Continuation> items,
                                                   const ScoringOptions& options, const EvaluationProgress& progress) {
  const std::int64_t batch = options.tokens_per_batch > 0 ? options.tokens_per_batch : usual_batch(model);
  std::int64_t done = 0;
  std::vector<ContinuationScore> scores(items.size());
  std::vector<Row> rows;
  std::vector<ContinuationScore*> places;
  const auto run = [&] {
    if (!rows.empty()) score_batch(model, rows, places);
    done += static_cast<std::int64_t>(rows.size());
    if (progress) progress(done, static_cast<std::int64_t>(items.size()));
    rows.clear();
    places.clear();
  };
  // Longest first: rows of a batch have similar lengths, and the most memory is needed at once.
  std::vector<std::size_t> order(items.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return items[a].context.size() + items[a].target.size() > items[b].context.size() + items[b].target.size();
  });
  for (const std::size_t number : order) {
    if (items[number].target.empty()) continue;
    Row row = make_row(items[number], number, options, model.vocabulary());
    const std::size_t longest = rows.empty() ? row.tokens.size() : rows.front().tokens.size();
    if (static_cast<std::int64_t>(longest * (rows.size() + 1)) > batch) run();
    rows.push_back(std::move(row));
    places.push_back(&scores[number]);
  }
  run();
  return scores;
}

std::int64_t longest_input(const LanguageModel& model) {
  return model.params().positions == "learned" ? model.params().max_length : 0;
}

std::int64_t usual_batch(const LanguageModel& model) {
  constexpr std::int64_t logits = std::int64_t{1} << 26;
  return std::clamp<std::int64_t>(logits / std::max<std::int64_t>(model.vocabulary(), 1), 256, 4096);
}

}  // namespace rwkvlab
