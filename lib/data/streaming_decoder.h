// Text out of tokens, one by one.
#pragma once

#include <cstdint>
#include <string>

#include "data/tokenizer.h"

namespace rwkvlab {

/// Gives out bytes as soon as they are complete UTF-8 characters, so that a terminal never sees half of one. Bytes that
/// are no UTF-8 become U+FFFD, as by Python's errors="replace": what all calls return together is
/// replace_invalid_utf8(tokenizer.decode(tokens)).
class StreamingDecoder {
 public:
  /// The tokenizer must outlive it.
  explicit StreamingDecoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  /// The characters that the token completes; often none. Throws DataError for a token outside the vocabulary.
  std::string push(std::int64_t token);
  /// What is left at the end: U+FFFD for a character that was never completed.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  std::string rest_;  // the beginning of a character
};

}  // namespace rwkvlab
