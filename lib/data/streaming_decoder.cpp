#include "data/streaming_decoder.h"

#include <utility>

#include "data/utf8.h"

namespace rwkvlab {

std::string StreamingDecoder::push(std::int64_t token) {
  const std::string bytes = rest_ + tokenizer_->decode({&token, 1});
  return replace_invalid_utf8(bytes, &rest_);
}

std::string StreamingDecoder::finish() { return replace_invalid_utf8(std::exchange(rest_, "")); }

}  // namespace rwkvlab
