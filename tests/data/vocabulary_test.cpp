// Vocabularies from files: World and GPT-NeoX; and text out of tokens one by one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "base/gzip.h"
#include "data/byte_pair_merges.h"
#include "data/byte_trie.h"
#include "data/streaming_decoder.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "data/word_pattern.h"
#include "tests/data/small_vocabularies.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Tokens = std::vector<std::int64_t>;

Tokenizer world() { return Tokenizer::of_file(parse_world_vocabulary(small_world(), "small.txt")); }
Tokenizer neox(const nlohmann::json& json = small_neox()) {
  return Tokenizer::of_file(parse_neox_vocabulary(json.dump(), "tokenizer.json"));
}

std::string refused_world(const std::string& lines) {
  return message_of<DataError>([&] { parse_world_vocabulary(lines, "small.txt"); });
}

TEST(ByteTrie, FindsTheLongestOfManyStrings) {
  std::mt19937 random(7);
  const auto letters = [&random](std::size_t longest, unsigned kinds) {
    std::string text;
    for (std::size_t length = 1 + random() % longest; length > 0; --length) text += static_cast<char>(random() % kinds);
    return text;
  };
  for (const unsigned kinds : {2u, 5u, 256u}) {
    std::map<std::string, std::int32_t> known;
    while (known.size() < 60) known.emplace(letters(6, kinds), static_cast<std::int32_t>(known.size()));
    const ByteTrie trie({known.begin(), known.end()});
    const std::string text = letters(1, kinds) + letters(2000, kinds);
    for (std::size_t begin = 0; begin < text.size(); ++begin) {
      ByteTrie::Match expected;
      for (const auto& [string, value] : known) {
        if (text.compare(begin, string.size(), string) == 0 && begin + string.size() > expected.end) {
          expected = {value, begin + string.size()};
        }
      }
      ASSERT_EQ(trie.longest(text, begin).value, expected.value) << begin;
      ASSERT_EQ(trie.longest(text, begin).end, expected.end) << begin;
    }
  }
  EXPECT_EQ(ByteTrie().longest("a", 0).value, -1);
}

TEST(World, TakesTheLongestToken) {
  const Tokenizer tokenizer = world();
  EXPECT_EQ(tokenizer.kind(), "world");
  EXPECT_EQ(tokenizer.size(), 264);  // 262 tokens and the end of a text, in eights
  EXPECT_EQ(tokenizer.end_of_text(), 0);
  EXPECT_THAT(tokenizer.encode("abcd"), ElementsAre(259));
  EXPECT_THAT(tokenizer.encode("abc"), ElementsAre(258, 'c' + 1));
  EXPECT_THAT(tokenizer.encode("it's\n\n\n"), ElementsAre('i' + 1, 't' + 1, '\'' + 1, 's' + 1, 257, '\n' + 1));
  EXPECT_THAT(tokenizer.encode("it's é"), ElementsAre(262, 260));
  EXPECT_THAT(tokenizer.encode("\xFF€"), ElementsAre(256, 261, 0xAC + 1));
  EXPECT_THAT(tokenizer.encode(""), ElementsAre());
  EXPECT_EQ(tokenizer.decode(Tokens{0, 262, 263, 256}), "it's \xFF");
  EXPECT_THROW(tokenizer.decode(Tokens{264}), DataError);
  EXPECT_EQ(tokenizer.byte_length(260), 2);
  EXPECT_EQ(tokenizer.character_count(260), 1);
  EXPECT_EQ(tokenizer.byte_length(0), 0);
}

TEST(World, ReadsPythonLiterals) {
  const auto text_of = [](const std::string& literal, int length) {
    const Tokenizer tokenizer = Tokenizer::of_file(
        parse_world_vocabulary(world_bytes() + fmt::format("257 {} {}\n", literal, length), "small.txt"));
    return tokenizer.decode(Tokens{257});
  };
  EXPECT_EQ(text_of(R"("it's")", 4), "it's");
  EXPECT_EQ(text_of(R"('a\'"b')", 4), "a'\"b");
  EXPECT_EQ(text_of(R"('\\n')", 2), "\\n");
  EXPECT_EQ(text_of(R"('\xe9\u20ac\U0001f600')", 9), "é€😀");
  EXPECT_EQ(text_of(R"(b'\xe9\t"')", 3), "\xE9\t\"");
  EXPECT_EQ(text_of("'  '", 2), "  ");
  EXPECT_EQ(text_of("'a b'", 3), "a b");
  const Tokenizer from_windows =
      Tokenizer::of_file(parse_world_vocabulary(world_bytes() + "257 'ab' 2\r\n258 'c d' 3", "small.txt"));
  EXPECT_THAT(from_windows.encode("abc d"), ElementsAre(257, 258));
}

TEST(World, RefusesBrokenFiles) {
  const std::string bytes = world_bytes();
  EXPECT_THAT(refused_world(bytes + "257 'ab' 3\n"),
              AllOf(HasSubstr("'small.txt', line 257"), HasSubstr("2 bytes, its length says 3")));
  EXPECT_THAT(refused_world(bytes + "256 'ab' 2\n"), HasSubstr("the id 256 stands in an earlier line"));
  EXPECT_THAT(refused_world(bytes + "258 'ab' 2\n"), HasSubstr("there is no token 257, but one of 258"));
  EXPECT_THAT(refused_world(bytes + "257 'a' 1\n"), HasSubstr("the tokens 98 and 257 are the same"));
  EXPECT_THAT(refused_world("1 'a' 1\n"), HasSubstr("the byte 0x00 is no token"));
  EXPECT_THAT(refused_world(""), HasSubstr("no token"));
  EXPECT_THAT(refused_world(bytes + "x 'ab' 2\n"), HasSubstr("expected an id from 1"));
  EXPECT_THAT(refused_world(bytes + "99999999999999999999 'ab' 2\n"), HasSubstr("expected an id from 1"));
  EXPECT_THAT(refused_world(bytes + "257 'ab'\n"), HasSubstr("expected an id, a text and a length"));
  EXPECT_THAT(refused_world(bytes + "257 ab 2\n"), HasSubstr("in quotes"));
  EXPECT_THAT(refused_world(bytes + "257 'a'b' 3\n"), HasSubstr("not escaped"));
  EXPECT_THAT(refused_world(bytes + "257 'a\\q' 3\n"), HasSubstr("escape"));
  EXPECT_THAT(refused_world(bytes + "257 '\\ud800' 3\n"), HasSubstr("escape"));
  EXPECT_THAT(refused_world(bytes + "257 b'\\u20ac' 3\n"), HasSubstr("escape"));
  EXPECT_THAT(refused_world(bytes + "257 b'é' 2\n"), HasSubstr("not ASCII"));
  EXPECT_THAT(refused_world(bytes + "257 '\xE9' 1\n"), HasSubstr("not UTF-8"));
}

TEST(Neox, CutsNormalisesAndMerges) {
  const Tokenizer tokenizer = neox();
  EXPECT_EQ(tokenizer.kind(), "neox");
  EXPECT_EQ(tokenizer.size(), 265);
  const auto byte = [](char c) { return static_cast<unsigned char>(c) + 2; };
  EXPECT_THAT(tokenizer.encode("hello"), ElementsAre(262));
  EXPECT_THAT(tokenizer.encode("hell hello"), ElementsAre(260, byte(' '), 262));
  EXPECT_THAT(tokenizer.encode(" ha"), ElementsAre(261, byte('a')));
  EXPECT_THAT(tokenizer.encode("hello<|endoftext|>he"), ElementsAre(262, 0, 258));
  // Six spaces: four, and two that take along the one before the word.
  EXPECT_THAT(tokenizer.encode("      he"), ElementsAre(263, 264, 258));
  EXPECT_THAT(tokenizer.encode("   he"), ElementsAre(264, byte(' '), 258));
  // e and a combining acute accent are é.
  EXPECT_THAT(tokenizer.encode("e\xCC\x81"), ElementsAre(byte('\xC3'), byte('\xA9')));
  EXPECT_THAT(tokenizer.encode(""), ElementsAre());
  EXPECT_EQ(tokenizer.decode(Tokens{262, 264, 0, 261}), "hello  <|endoftext|> h");
  EXPECT_EQ(tokenizer.byte_length(0), 0);
  EXPECT_EQ(tokenizer.byte_length(262), 5);
  EXPECT_THAT(message_of<DataError>([&] { tokenizer.encode("he\xFF", "prompt"); }),
              AllOf(HasSubstr("prompt: byte 2"), HasSubstr("UTF-8")));
}

TEST(Neox, WordsOfThePattern) {
  const auto words = [](std::string_view text) {
    std::vector<std::string> found;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = word_end(text, begin);
      found.emplace_back(text.substr(begin, end - begin));
      begin = end;
    }
    return found;
  };
  EXPECT_THAT(words("it's we'll 'twas I'M"), ElementsAre("it", "'s", " we", "'ll", " '", "twas", " I", "'", "M"));
  EXPECT_THAT(words("a  b\n c \n"), ElementsAre("a", " ", " b", "\n", " c", " \n"));
  EXPECT_THAT(words("x1²½+=é中 ١"), ElementsAre("x", "1²½", "+=", "é中", " ١"));
  EXPECT_THAT(words("\u00a0a\u3000\u3000b"), ElementsAre("\u00a0", "a", "\u3000", "\u3000", "b"));
  EXPECT_THAT(words("  "), ElementsAre("  "));
}

// The short and the long way must agree; random merges make words of every depth.
TEST(BytePairMerges, WordsOfAnyLengthMergeAlike) {
  std::mt19937 random(3);
  BytePairMerges merges(300);
  std::vector<std::array<std::int32_t, 3>> list;
  for (std::int32_t next = 3; next < 60; ++next) {
    const auto left = static_cast<std::int32_t>(random() % static_cast<unsigned>(next));
    const auto right = static_cast<std::int32_t>(random() % static_cast<unsigned>(next));
    if (merges.add(left, right, next)) list.push_back({left, right, next});
  }
  for (int round = 0; round < 300; ++round) {
    std::vector<std::int32_t> symbols(1 + random() % 80);
    for (std::int32_t& symbol : symbols) symbol = static_cast<std::int32_t>(random() % 3);
    std::vector<std::int32_t> expected = symbols;
    for (bool merged = true; merged;) {
      merged = false;
      for (std::size_t m = 0; m < list.size() && !merged; ++m) {
        for (std::size_t i = 0; i + 1 < expected.size() && !merged; ++i) {
          if (expected[i] != list[m][0] || expected[i + 1] != list[m][1]) continue;
          expected[i] = list[m][2];
          expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(i) + 1);
          merged = true;
        }
      }
    }
    merges.apply(symbols);
    ASSERT_EQ(symbols, expected) << round;
  }
  EXPECT_FALSE(merges.add(list[0][0], list[0][1], 99));
}

TEST(Neox, RefusesOtherTokenizers) {
  const auto refusal = [](const nlohmann::json::json_pointer& place, const nlohmann::json& value) {
    nlohmann::json json = small_neox();
    json[place] = value;
    return message_of<DataError>([&] { neox(json); });
  };
  using Pointer = nlohmann::json::json_pointer;
  EXPECT_THAT(refusal(Pointer("/model/type"), "Unigram"), AllOf(HasSubstr("'tokenizer.json'"), HasSubstr("Unigram")));
  EXPECT_THAT(refusal(Pointer("/normalizer"), nullptr), HasSubstr("normalizer is none, expected NFC"));
  EXPECT_THAT(refusal(Pointer("/pre_tokenizer/type"), "Sequence"), HasSubstr("pre_tokenizer is Sequence"));
  EXPECT_THAT(refusal(Pointer("/pre_tokenizer/add_prefix_space"), true), HasSubstr("add_prefix_space"));
  EXPECT_THAT(refusal(Pointer("/model/byte_fallback"), true), HasSubstr("byte_fallback"));
  EXPECT_THAT(refusal(Pointer("/model/vocab/he"), 259), HasSubstr("two tokens have the id 259"));
  EXPECT_THAT(refusal(Pointer("/model/vocab/he"), 900), HasSubstr("no token 258"));
  EXPECT_THAT(refusal(Pointer("/model/vocab/he"), -1), HasSubstr("expected 0 to"));
  EXPECT_THAT(refusal(Pointer("/model/merges/0"), "h x"), HasSubstr("merge 0 names 'hx', which is no token"));
  EXPECT_THAT(refusal(Pointer("/model/merges/1"), "h e"), HasSubstr("merge 1 repeats"));
  EXPECT_THAT(refusal(Pointer("/model/merges/1"), "he"), HasSubstr("expected two tokens"));
  EXPECT_THAT(refusal(Pointer("/added_tokens/2/rstrip"), true), HasSubstr("rstrip"));
  EXPECT_THAT(refusal(Pointer("/added_tokens/2/id"), 12), HasSubstr("two tokens have the id 12"));
  EXPECT_THAT(refusal(Pointer("/added_tokens/2/id"), 270), HasSubstr("no token 263"));
  EXPECT_THAT(message_of<DataError>([] { parse_neox_vocabulary("{", "x"); }), HasSubstr("not valid JSON"));
}

TEST(Vocabulary, SurvivesItsJsonAndIsRecognised) {
  const TemporaryFolder folder;
  for (const Tokenizer& tokenizer : {world(), neox()}) {
    EXPECT_EQ(Tokenizer::from_json(tokenizer.json(), "x"), tokenizer);
    EXPECT_EQ(Tokenizer::open(folder.make("vocabulary.json", tokenizer.json().dump()).string()), tokenizer);
  }
  EXPECT_NE(world(), neox());
  EXPECT_NE(world(), Tokenizer::of_file(parse_world_vocabulary(world_bytes(), "x")));
  EXPECT_EQ(Tokenizer::open(folder.make("a.txt.gz", gzip(small_world())).string()), world());
  EXPECT_EQ(Tokenizer::open(folder.make("b.json", small_neox().dump()).string()), neox());
  EXPECT_EQ(Tokenizer::open("bytes"), Tokenizer::bytes());
  EXPECT_THROW(Tokenizer::open((folder / "missing").string()), DataError);
  nlohmann::json damaged = world().json();
  damaged["sha256"] = std::string(64, '0');
  EXPECT_THAT(message_of<DataError>([&] { Tokenizer::from_json(damaged, "x"); }), HasSubstr("SHA-256"));
  damaged.erase("gzip");
  EXPECT_THROW(Tokenizer::from_json(damaged, "x"), DataError);
}

// Parts of every size must join to the whole; bytes that are no UTF-8 make World alone go on.
TEST(Vocabulary, PartsOfATextJoin) {
  std::mt19937 random(11);
  const std::vector<std::string> pieces = {"hello", " he",           "\n", "\n\n", "  ", "ab", "abcd", "é", "e\xCC\x81",
                                           "it's ", "<|endoftext|>", "€",  "1",    "!",  "\t", "\r\n"};
  for (const Tokenizer& tokenizer : {world(), neox(), Tokenizer::bytes()}) {
    for (int round = 0; round < 200; ++round) {
      std::string text;
      for (std::size_t i = random() % 40; i > 0; --i) text += pieces[random() % pieces.size()];
      Tokens parts;
      const std::size_t step = 1 + random() % 10;
      for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = tokenizer.encode_part(text, begin, begin + step, "text", parts);
        ASSERT_GT(end, begin);
        begin = end;
      }
      ASSERT_EQ(parts, tokenizer.encode(text)) << nlohmann::json(text);
      ASSERT_EQ(tokenizer.decode(parts), tokenizer.kind() == "neox" ? normal_form_c(text) : text);
    }
  }
}

TEST(StreamingDecoder, GivesOutWholeCharacters) {
  const Tokenizer tokenizer = world();
  StreamingDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(261), "");
  EXPECT_EQ(decoder.push(0xAC + 1), "€");
  EXPECT_EQ(decoder.push(259), "abcd");
  EXPECT_EQ(decoder.push(261), "");
  EXPECT_EQ(decoder.push('a' + 1), "\uFFFDa");
  EXPECT_EQ(decoder.push(0xF0 + 1), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
  EXPECT_EQ(decoder.finish(), "");
}

// What Python's bytes.decode(errors="replace") gives.
TEST(StreamingDecoder, ReplacesAsPythonDoes) {
  const std::vector<std::pair<std::string, std::string>> cases = {{"a\x80z", "a\uFFFDz"},
                                                                  {"\xE2\x82", "\uFFFD"},
                                                                  {"\xF0\x9F\x98 \xC3", "\uFFFD \uFFFD"},
                                                                  {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},
                                                                  {"\xC0\x80\xC1", "\uFFFD\uFFFD\uFFFD"},
                                                                  {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
                                                                  {"\xF8\xFF", "\uFFFD\uFFFD"},
                                                                  {"\xE0\x80\x80é", "\uFFFD\uFFFD\uFFFDé"}};
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(replace_invalid_utf8(bytes), text) << nlohmann::json(Tokens(bytes.begin(), bytes.end()));
    const Tokenizer tokenizer = Tokenizer::bytes();
    StreamingDecoder decoder(tokenizer);
    std::string streamed;
    for (const std::int64_t token : tokenizer.encode(bytes)) streamed += decoder.push(token);
    EXPECT_EQ(streamed + decoder.finish(), text);
  }
}

// Cases that the official tokenizers were run on; larger than the project, so read where they are present.
void compare_with_official(const char* vocabulary, const char* cases) {
  const fs::path shared = fs::path(RWKVLAB_REFERENCE_DIR).parent_path();
  std::ifstream lines(shared / "reference" / "tokenizer" / cases);
  if (!lines || !fs::exists(shared / "data" / vocabulary)) GTEST_SKIP() << "no official cases in " << shared;
  const Tokenizer tokenizer = Tokenizer::open((shared / "data" / vocabulary).string());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto json = nlohmann::json::parse(line);
    const auto hex = json["bytes_hex"].get<std::string>();
    std::string text;
    for (std::size_t i = 0; i < hex.size(); i += 2) text += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    const Tokens tokens = tokenizer.encode(text);
    EXPECT_EQ(tokens, json["ids"].get<Tokens>()) << line;
    EXPECT_EQ(tokenizer.decode(tokens), tokenizer.kind() == "neox" ? normal_form_c(text) : text) << line;
  }
  EXPECT_GT(count, 100);
}

TEST(OfficialCases, World) { compare_with_official("rwkv_vocab_v20230424.txt.gz", "world.jsonl"); }
TEST(OfficialCases, Neox) { compare_with_official("20B_tokenizer.json.gz", "20b.jsonl"); }

}  // namespace
}  // namespace rwkvlab
