// Any bytes as the file of a vocabulary: World, GPT-NeoX, or what a checkpoint keeps.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/tokenizer.h"
#include "tests/data/small_vocabularies.h"
#include "tests/fuzz/fuzz.h"

namespace {

using rwkvlab::Tokenizer;

Tokenizer parse(std::string content) {
  if (content.find('{') > 3) return Tokenizer::of_file(rwkvlab::parse_world_vocabulary(std::move(content), "input"));
  const auto json = nlohmann::json::parse(content, nullptr, false);
  if (json.is_object() && json.contains("kind")) return Tokenizer::from_json(json, "input");
  return Tokenizer::of_file(rwkvlab::parse_neox_vocabulary(std::move(content), "input"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const Tokenizer tokenizer = parse({reinterpret_cast<const char*>(data), size});
    const std::string text = "hello  it's abcd\n\n <|endoftext|> \xC3\xA9";
    const std::vector<std::int64_t> tokens = tokenizer.encode(text);
    for (const std::int64_t token : tokens) {
      if (token < 0 || token >= tokenizer.size()) __builtin_trap();
    }
    // Whatever vocabulary is taken, encoding loses nothing (the words of a task are joined by spaces).
    if (tokenizer.kind() != "words" && tokenizer.decode(tokens) != text) __builtin_trap();
    if (Tokenizer::from_json(tokenizer.json(), "again") != tokenizer) __builtin_trap();
  } catch (const rwkvlab::DataError&) {
    // The only way in which a broken file may end.
  }
  return 0;
}

std::vector<std::string> rwkvlab::fuzz::seeds() {
  const std::string world = small_world();
  return {world,
          small_neox().dump(),
          R"({"kind": "bytes"})",
          R"({"kind": "characters", "symbols": {"0": "\n", "1": " ", "2": "a"}})",
          R"({"kind": "words", "symbols": {"0": "hello", "1": "it's"}})",
          Tokenizer::of_file(parse_world_vocabulary(world, "small")).json().dump()};
}
