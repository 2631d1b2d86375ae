#include "data/text_data_set.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace rwkvlab {
namespace {

// "1,115,394": counts are long.
std::string counted(std::uint64_t count) {
  if (count < 1000) return fmt::format("{}", count);
  return fmt::format("{},{:03}", counted(count / 1000), count % 1000);
}
std::string counted(std::int64_t count) { return counted(static_cast<std::uint64_t>(count)); }

Batch empty_batch(std::int64_t rows, std::int64_t context) {
  Batch batch;
  batch.tokens = Tensor::empty({rows, context}, DType::i64);
  batch.targets = Tensor::empty({rows, context}, DType::i64);
  return batch;
}

std::span<std::int64_t> row_of(const Tensor& tensor, std::int64_t row, std::int64_t context) {
  return tensor.span<std::int64_t>().subspan(static_cast<std::size_t>(row * context),
                                             static_cast<std::size_t>(context));
}

// Reads a row of the batch: inputs from `begin` on and targets one token later; positions from `count` on are padding.
void read_row(const TokenText& text, std::int64_t begin, std::int64_t count, std::int64_t row, Batch& batch) {
  const std::int64_t context = batch.tokens.shape()[-1];
  const std::span<std::int64_t> tokens = row_of(batch.tokens, row, context);
  const std::span<std::int64_t> targets = row_of(batch.targets, row, context);
  const auto used = static_cast<std::size_t>(count);
  text.read(begin, tokens.first(used));
  text.read(begin + 1, targets.first(used));
  std::fill(tokens.begin() + count, tokens.end(), 0);
  std::fill(targets.begin() + count, targets.end(), no_target);
  batch.source_bytes += text.bytes_of(targets.first(used));
  batch.source_characters += text.characters_of(targets.first(used));
}

}  // namespace

std::shared_ptr<const Tokenizer> make_tokenizer(const TokenChoice& choice, const TextSource& text,
                                                const std::filesystem::path& folder) {
  if (choice.tokens == "bytes") return std::make_shared<const Tokenizer>(Tokenizer::bytes());
  if (choice.tokens == "characters") {
    const TextSource* const sources[] = {&text};
    return std::make_shared<const Tokenizer>(characters_of(sources));
  }
  check_invariant(choice.vocabulary.has_value(), "an unknown kind of tokens");
  const Tokenizer tokenizer = Tokenizer::open((folder / *choice.vocabulary).string());
  if (tokenizer.kind() != choice.tokens) {
    throw DataError(fmt::format("'{}' is a vocabulary of the kind {}, expected {}", *choice.vocabulary,
                                tokenizer.kind(), choice.tokens));
  }
  return std::make_shared<const Tokenizer>(tokenizer);
}

TextDataSet::TextDataSet(TextDataSetParts parts)
    : kind_(std::move(parts.kind)),
      order_(order_named(parts.order)),
      random_(parts.seed, "data.order"),
      text_(std::move(parts.text)),
      apart_(std::move(parts.apart)) {
  split_ = text_.size();
  if (apart_) {
    check_invariant(*apart_->tokenizer() == *text_.tokenizer(), "two texts with different tokenizers");
    held_out_targets_ = std::max<std::int64_t>(apart_->size() - 1, 0);
    return;
  }
  held_out_targets_ = std::clamp<std::int64_t>(
      static_cast<std::int64_t>(static_cast<double>(text_.size()) * parts.held_out_fraction), 0, text_.size() - 1);
  split_ -= held_out_targets_;
  first_input_ = split_ - 1;
}

Batch TextDataSet::training_batch(std::int64_t step, std::int64_t batch, std::int64_t context) const {
  check_invariant(step >= 0, "a batch of a negative step");
  const BatchOrder order(order_, split_, batch, context, text_.names());
  Batch result = empty_batch(batch, context);
  result.carries_state = order.carries_state(step);
  if (ShapeOnly::active()) return result;
  for (std::int64_t row = 0; row < batch; ++row) {
    read_row(text_, order.begin(random_, step, row), context, row, result);
  }
  return result;
}

std::int64_t TextDataSet::windows(std::int64_t context) const {
  return held_out_targets_ / context + (held_out_targets_ % context != 0 ? 1 : 0);
}

std::int64_t TextDataSet::held_out_batches(std::int64_t batch, std::int64_t context, std::int64_t limit) const {
  check_invariant(batch >= 1 && context >= 1, "a held-out batch without rows");
  const std::int64_t count = windows(context);
  const std::int64_t batches = count / batch + (count % batch != 0 ? 1 : 0);
  return limit > 0 ? std::min(limit, batches) : batches;
}

Batch TextDataSet::held_out_batch(std::int64_t index, std::int64_t batch, std::int64_t context) const {
  check_invariant(index >= 0 && index < held_out_batches(batch, context, 0), "a held-out batch behind the end");
  const std::int64_t first = index * batch;
  const std::int64_t rows = std::min(batch, windows(context) - first);
  Batch result = empty_batch(rows, context);
  if (ShapeOnly::active()) return result;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t done = (first + row) * context;
    read_row(held_out_text(), first_input_ + done, std::min(context, held_out_targets_ - done), row, result);
  }
  return result;
}

std::string TextDataSet::describe() const {
  const std::string source = apart_ ? fmt::format("{}; held out {}", text_.names(), apart_->names()) : text_.names();
  const std::uint64_t bytes = text_.bytes() + (apart_ ? apart_->bytes() : 0);
  return fmt::format("{}: {}, {} bytes, vocabulary of {} {}, {} training and {} held-out tokens", kind_, source,
                     counted(bytes), counted(vocabulary()), tokenizer().kind(), counted(split_),
                     counted(held_out_targets_));
}

}  // namespace rwkvlab
