// Vocabulary files small enough to be read, of the two formats.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "data/utf8.h"

namespace rwkvlab {

/// The first 256 lines of every World vocabulary: the bytes.
inline std::string world_bytes() {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) {
    std::string literal = fmt::format("'\\x{:02x}'", byte);
    if (byte >= 128) literal = fmt::format("b'\\x{:02x}'", byte);
    if (byte >= ' ' && byte < 127 && byte != '\'' && byte != '\\')
      literal = fmt::format("'{}'", static_cast<char>(byte));
    text += fmt::format("{} {} 1\n", byte + 1, literal);
  }
  return text;
}

/// Bytes and a few longer tokens: 257 "\n\n", 258 "ab", 259 "abcd", 260 "é", 261 E2 82 (half a euro sign), 262 "it's ".
inline std::string small_world() {
  return world_bytes() + "257 '\\n\\n' 2\n258 'ab' 2\n259 'abcd' 4\n260 'é' 2\n261 b'\\xe2\\x82' 2\n262 \"it's \" 5\n";
}

/// A tokenizer.json like that of GPT-NeoX: 0 and 1 special, 2 to 257 bytes, then "he" "ll" "hell" " h" "hello", and
/// added runs of four (263) and two (264) spaces.
inline nlohmann::json small_neox() {
  nlohmann::json vocabulary = {{"<|endoftext|>", 0}, {"<|padding|>", 1}};
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool is_printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    std::string written;
    append_utf8(written, static_cast<char32_t>(is_printable ? byte : next++));
    vocabulary[written] = byte + 2;
  }
  int id = 258;
  for (const char* const token : {"he", "ll", "hell", "Ġh", "hello"}) vocabulary[token] = id++;
  const auto added = [](int number, const char* text, bool is_special) {
    return nlohmann::json{
        {"id", number},         {"content", text}, {"special", is_special}, {"normalized", !is_special},
        {"single_word", false}, {"lstrip", false}, {"rstrip", false}};
  };
  return {{"version", "1.0"},
          {"added_tokens",
           {added(0, "<|endoftext|>", true), added(1, "<|padding|>", true), added(263, "    ", false),
            added(264, "  ", false)}},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"vocab", vocabulary},
            {"merges", {"h e", "l l", "he ll", "Ġ h", "hell o"}}}}};
}

}  // namespace rwkvlab
