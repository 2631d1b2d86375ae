#include "models/generator.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/ops/embedding.h"
#include "base/error.h"
#include "nn/overwritten_state.h"

namespace rwkvlab {
namespace {

// Tokens of a prompt that are read at once: matrix products are efficient and activations small.
constexpr std::size_t chunk = 256;

constexpr const char* nothing_read =
    "nothing was read yet, so that nothing can be said about the next token: give a prompt";

void check_carries_state(const LanguageModel& model) {
  const LanguageModelParams& params = model.params();
  if (params.copy_head == 0 && !params.tiny_attention) return;
  throw ConfigError(
      fmt::format("this model cannot generate: its {} sees the whole sequence at once and carries no state",
                  params.copy_head > 0 ? "copy_head" : "tiny_attention"));
}

void check_tokens(const LanguageModel& model, std::span<const std::int64_t> tokens) {
  for (const std::int64_t token : tokens) {
    if (token >= 0 && token < model.vocabulary()) continue;
    throw DataError(fmt::format("token {} is outside the model's vocabulary of {} tokens", token, model.vocabulary()));
  }
}

// Row `last` of every sequence of x [batch, time, channels], as [batch, 1, channels].
Var last_tokens(const Var& x) {
  const std::int64_t batch = x.shape()[0], time = x.shape()[1];
  if (time == 1) return x;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(batch));
  for (std::int64_t b = 0; b < batch; ++b) rows[static_cast<std::size_t>(b)] = (b + 1) * time - 1;
  const Tensor gathered = gather_rows(x, Tensor::from<std::int64_t>({batch}, rows)).value();
  return Var(gathered.reshaped({batch, 1, x.shape()[-1]}));
}

}  // namespace

Generator::Generator(const LanguageModel& model, const StoredWeights* stored, std::int64_t sequences)
    : model_(&model), stored_(stored), sequences_(sequences) {
  check_invariant(sequences >= 1, "a generator has a sequence");
  check_carries_state(model);
}

bool Generator::mixes_lengths(const LanguageModel& model) {
  const std::vector<StatePiece> pieces = model.state_pieces();
  return std::none_of(pieces.begin(), pieces.end(), [](const StatePiece& piece) { return piece.grows(); });
}

bool fits(const StatePiece& piece, const Shape& value, std::int64_t sequences) {
  if (value.rank() != piece.shape.rank() + 1 || value[0] != sequences) return false;
  for (int i = piece.grows() ? 1 : 0; i < piece.shape.rank(); ++i) {
    if (value[i + 1] != piece.shape[i]) return false;
  }
  return true;
}

void Generator::set_state(GenerationState state) {
  const std::int64_t sequences =
      state.logits.defined() ? state.logits.shape()[0] : state.state.pieces().front().second.shape()[0];
  for (const StatePiece& piece : model_->state_pieces()) {
    const Var* const value = state.state.find(piece.name);
    if (value != nullptr && fits(piece, value->shape(), sequences)) continue;
    throw ShapeError(fmt::format("'{}' of the state is {}; the model expects {} of {} sequences", piece.name,
                                 value == nullptr ? "missing" : value->shape().text(), piece.shape.text(), sequences));
  }
  sequences_ = sequences;
  at_ = std::move(state);
}

void Generator::read(std::span<const std::int64_t> tokens) {
  check_tokens(*model_, tokens);
  for (std::size_t begin = 0; begin < tokens.size(); begin += chunk) {
    const std::span<const std::int64_t> part = tokens.subspan(begin, std::min(chunk, tokens.size() - begin));
    std::vector<std::int64_t> all;
    for (std::int64_t s = 0; s < sequences_; ++s) all.insert(all.end(), part.begin(), part.end());
    forward(Tensor::from<std::int64_t>({sequences_, static_cast<std::int64_t>(part.size())}, all),
            begin + part.size() == tokens.size());
  }
}

void Generator::step(std::span<const std::int64_t> tokens) {
  check_invariant(static_cast<std::int64_t>(tokens.size()) == sequences_, "a step has one token per sequence");
  check_tokens(*model_, tokens);
  forward(Tensor::from<std::int64_t>({sequences_, 1}, tokens), true);
}

void Generator::forward(const Tensor& tokens, bool wants_logits) {
  std::optional<StoredWeights::Scope> formats;
  if (stored_ != nullptr) formats.emplace(*stored_);
  State next;
  SharedValues shared;
  ForwardContext context;
  if (at_.state.empty()) at_.state = model_->start(sequences_);
  context.state_in = at_.state.empty() ? nullptr : &at_.state;
  context.state_out = &next;
  context.shared = &shared;
  const OverwriteState overwrite;  // at_.state is replaced by what comes after it.
  Var x = model_->embed(tokens, context);
  for (int layer = 0; layer < model_->params().layers; ++layer) x = model_->layer(layer, x, Var(), context);
  if (wants_logits)
    at_.logits = model_->head(last_tokens(x), tokens, context).value().reshaped({sequences_, model_->vocabulary()});
  at_.state = std::move(next);
  at_.tokens += tokens.shape()[1];
}

std::span<const float> Generator::logits(std::int64_t sequence) const {
  if (!at_.logits.defined()) {
    throw DataError(nothing_read);
  }
  const auto vocabulary = static_cast<std::size_t>(model_->vocabulary());
  return at_.logits.span<float>().subspan(static_cast<std::size_t>(sequence) * vocabulary, vocabulary);
}

namespace {

Tensor first_rows(const std::vector<Tensor>& parts, std::int64_t copies) {
  std::vector<std::int64_t> sizes(parts[0].shape().sizes().begin(), parts[0].shape().sizes().end());
  sizes[0] = static_cast<std::int64_t>(parts.size()) * copies;
  const Tensor all = Tensor::empty(Shape(sizes), parts[0].dtype());
  std::int64_t row = 0;
  for (const Tensor& part : parts) {
    const Tensor first = part.rows(0, 1);
    for (std::int64_t copy = 0; copy < copies; ++copy, ++row) {
      const Tensor place = all.rows(row, row + 1);
      if (place.shape() != first.shape()) {
        throw ShapeError(fmt::format("states of shapes {} and {} cannot be continued together", place.shape().text(),
                                     first.shape().text()));
      }
      place.copy_from(first);
    }
  }
  return all;
}

}  // namespace

GenerationState stacked(std::span<const GenerationState> states, std::int64_t copies) {
  for (const GenerationState& state : states) {
    if (!state.logits.defined()) throw DataError(nothing_read);
  }
  GenerationState result;
  for (const auto& [name, value] : states.front().state.pieces()) {
    std::vector<Tensor> parts;
    for (const GenerationState& state : states) parts.push_back(state.state.find(name)->value());
    result.state.set(name, Var(first_rows(parts, copies)));
  }
  std::vector<Tensor> logits;
  for (const GenerationState& state : states) {
    logits.push_back(state.logits);
    result.tokens = std::max(result.tokens, state.tokens);
  }
  result.logits = first_rows(logits, copies);
  return result;
}

}  // namespace rwkvlab
