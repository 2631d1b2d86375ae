// Any bytes as a text: encoding in parts, decoding, and text out of single tokens.
#include <string>
#include <vector>

#include "base/error.h"
#include "data/streaming_decoder.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "data/word_pattern.h"
#include "tests/data/small_vocabularies.h"
#include "tests/fuzz/fuzz.h"

namespace {

using rwkvlab::Tokenizer;

void require(bool condition) {
  if (!condition) __builtin_trap();
}

void check(const Tokenizer& tokenizer, std::string_view text, std::size_t step) {
  const std::vector<std::int64_t> tokens = tokenizer.encode(text);
  const std::string decoded = tokenizer.decode(tokens);
  require(decoded == (tokenizer.kind() == "neox" ? rwkvlab::normal_form_c(text) : text));
  std::vector<std::int64_t> parts;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = tokenizer.encode_part(text, begin, begin + step, "text", parts);
    require(end > begin);
    begin = end;
  }
  require(parts == tokens);
  rwkvlab::StreamingDecoder decoder(tokenizer);
  std::string streamed;
  for (const std::int64_t token : tokens) {
    const std::string more = decoder.push(token);
    require(rwkvlab::replace_invalid_utf8(more) == more);
    streamed += more;
  }
  require(streamed + decoder.finish() == rwkvlab::replace_invalid_utf8(decoded));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Tokenizer world = Tokenizer::of_file(rwkvlab::parse_world_vocabulary(rwkvlab::small_world(), "small"));
  static const Tokenizer neox =
      Tokenizer::of_file(rwkvlab::parse_neox_vocabulary(rwkvlab::small_neox().dump(), "small"));
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t step = size == 0 ? 1 : 1 + data[0] % 16;
  check(world, text, step);
  check(Tokenizer::bytes(), text, step);
  try {
    check(neox, text, step);
  } catch (const rwkvlab::DataError&) {
    // NeoX reads UTF-8 alone.
  }
  return 0;
}

std::vector<std::string> rwkvlab::fuzz::seeds() {
  return {"hello hell he's  it's we'll \n\n abcd",
          "e\xCC\x81 \xC3\xA9 \xE4\xB8\xAD\xE6\x96\x87 \xF0\x9F\x98\x80\xE3\x80\x80 \xEA\xB0\x80\xE1\x86\xA8",
          "<|endoftext|>1234 \t    <|padding|>\r\n", std::string("\xFF\xE2\x82\0\xED\xA0\x80", 7)};
}
