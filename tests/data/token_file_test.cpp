// Token files, and training on them and on text with the vocabulary of a file.
#include "data/token_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/gzip.h"
#include "config/registry.h"
#include "config/yaml_reader.h"
#include "data/data_set.h"
#include "data/token_text.h"
#include "data/tokenize_files.h"
#include "tensor/safetensors.h"
#include "tests/data/small_vocabularies.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Tokens = std::vector<std::int64_t>;

class TokenFiles : public testing::Test {
 protected:
  // One document for each text, with the end of a text behind it where there is one.
  fs::path write(const std::string& name, const Tokenizer& tokenizer, const std::vector<std::string>& texts) const {
    TokenFileWriter writer(folder_ / name, tokenizer);
    for (const std::string& text : texts) {
      writer.begin_document();
      writer.write(tokenizer.encode(text));
      if (const auto end = tokenizer.end_of_text()) writer.write({{*end}});
      writer.add_source_bytes(text.size());
    }
    writer.finish();
    return folder_ / name;
  }
  std::unique_ptr<TokenDataSet> build(const std::string& kind, const std::string& yaml) const {
    const DataSite site{folder_.path(), 1};
    return build_token_data(make_choice(data_slot, kind, parse_yaml(yaml, "test.yaml")), site);
  }
  static Tokens all(const TokenFile& file) {
    Tokens tokens(static_cast<std::size_t>(file.size()));
    file.read(0, tokens);
    return tokens;
  }
  TemporaryFolder folder_;
  Tokenizer world_ = Tokenizer::of_file(parse_world_vocabulary(small_world(), "small.txt"));
};

TEST_F(TokenFiles, ComeBack) {
  for (const Tokenizer& tokenizer : {world_, Tokenizer::bytes(), Tokenizer::characters({U'a', U'b', U'é'})}) {
    const TokenFile file(write("a.tokens", tokenizer, {"abab", "", "éa"}));
    Tokens expected;
    Tokens documents;
    for (const std::string text : {"abab", "", "éa"}) {
      documents.push_back(static_cast<std::int64_t>(expected.size()));
      for (const std::int64_t token : tokenizer.encode(text)) expected.push_back(token);
      if (tokenizer.end_of_text()) expected.push_back(*tokenizer.end_of_text());
    }
    EXPECT_EQ(all(file), expected);
    EXPECT_EQ(file.documents(), documents);
    EXPECT_EQ(file.source_bytes(), 7);
    EXPECT_EQ(file.tokenizer(), tokenizer);
    EXPECT_EQ(file.digest(), tokenizer.digest());
    Tokens middle(2);
    file.read(1, middle);
    EXPECT_THAT(middle, ElementsAre(expected[1], expected[2]));
    EXPECT_THROW(file.read(file.size() - 1, middle), BugError);
    EXPECT_TRUE(is_token_file(file.path()));
  }
  EXPECT_FALSE(is_token_file(folder_ / "missing"));
}

TEST_F(TokenFiles, AreSafetensors) {
  const SafetensorsFile file(write("a.tokens", world_, {"ab", "abcd"}));
  EXPECT_EQ(file.metadata("format"), "rwkvlab-tokens/1");
  const Tensor tokens = file.tensor("tokens");
  const auto span = tokens.span<std::int64_t>();
  EXPECT_THAT(Tokens(span.begin(), span.end()), ElementsAre(258, 0, 259, 0));
  EXPECT_EQ(file.entry("tokens").stored_type, "U16");
}

TEST_F(TokenFiles, RefuseDamage) {
  const fs::path path = write("a.tokens", world_, {"ab", "abcd"});
  const auto refusal = [](const fs::path& file) {
    return message_of<DataError>([&] {
      const TokenFile opened(file);
      all(opened);
      opened.documents();
      opened.tokenizer();
    });
  };
  const std::string good = read_text(path);
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t place = text.rfind(from);
    EXPECT_NE(place, std::string::npos) << from;
    return refusal(folder_.make("b.tokens", text.replace(place, from.size(), to)));
  };
  EXPECT_EQ(good.substr(good.size() - 24, 2), std::string("\x02\x01", 2));  // 258
  std::string outside = good;
  outside[good.size() - 23] = 2;
  EXPECT_THAT(refusal(folder_.make("b.tokens", outside)), AllOf(HasSubstr("b.tokens"), HasSubstr("token 0 is 514")));
  EXPECT_THAT(changed("tokens/1", "tokens/2"), HasSubstr("expected 'rwkvlab-tokens/1'"));
  EXPECT_THAT(changed("\"source_bytes\":\"6\"", "\"source_bytes\":\"x\""), HasSubstr("'source_bytes' is 'x'"));
  EXPECT_THAT(changed(world_.digest().substr(0, 8), "00000000"), HasSubstr("SHA-256"));
  EXPECT_THROW(TokenFile(folder_.make("c.tokens", good.substr(0, good.size() - 1))), DataError);
  EXPECT_THROW(TokenFile(folder_.make("d.tokens", "some text")), DataError);
  // A beginning is no text, wherever the rest was lost.
  for (std::size_t kept = 6; kept < good.size(); kept += kept < 64 ? 1 : 64) {
    const fs::path cut = folder_.make("cut.tokens", good.substr(0, kept));
    EXPECT_TRUE(is_token_file(cut)) << kept;
    EXPECT_THAT(message_of<DataError>([&] { TokenFile{cut}; }), HasSubstr("cut.tokens")) << kept;
  }
  for (const char* const text : {"", "some text", "12345678", "12345678{\"__metadata__\":"})
    EXPECT_FALSE(is_token_file(folder_.make("d.tokens", text))) << text;
  EXPECT_THAT(message_of<DataError>([&] { write("e.tokens", world_, {}); }), HasSubstr("no tokens"));
  EXPECT_FALSE(fs::exists(folder_ / "e.tokens"));
}

Tokens row(const Tensor& tensor) {
  const auto span = tensor.span<std::int64_t>();
  return {span.begin(), span.end()};
}

TEST_F(TokenFiles, TrainLikeTheTextTheyWereMadeOf) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += fmt::format("abcd {} it's\n\n", i);
  folder_.make("a.txt", text);
  folder_.make("world.txt", small_world());
  TokenFileWriter writer(folder_ / "a.tokens", world_);
  writer.write(world_.encode(text));
  writer.add_source_bytes(text.size());
  writer.finish();
  const auto direct = build("text", "{files: [a.txt], tokens: world, vocabulary: world.txt}");
  const auto filed = build("tokens", "{files: [a.tokens]}");
  EXPECT_EQ(direct->vocabulary(), 264);
  EXPECT_EQ(filed->tokenizer(), direct->tokenizer());
  EXPECT_EQ(filed->training_tokens(), direct->training_tokens());
  EXPECT_DOUBLE_EQ(filed->bytes_per_token(), direct->bytes_per_token());
  for (const std::int64_t step : {0, 5}) {
    const Batch a = direct->training_batch(step, 2, 16), b = filed->training_batch(step, 2, 16);
    EXPECT_EQ(row(a.tokens), row(b.tokens));
    EXPECT_EQ(row(a.targets), row(b.targets));
    EXPECT_EQ(a.source_bytes, static_cast<std::int64_t>(world_.decode(row(a.targets)).size()));
    EXPECT_EQ(a.source_characters, a.source_bytes);
  }
  EXPECT_THAT(filed->describe(), AllOf(HasSubstr("tokens: "), HasSubstr("264 world")));
}

TEST_F(TokenFiles, SeveralAreOneText) {
  const std::vector<fs::path> paths = {write("a.tokens", world_, {"abcd"}), write("b.tokens", world_, {"ab", "x"}),
                                       write("c.tokens", world_, {"\n\n"})};
  const TokenText text(paths);
  Tokens tokens(static_cast<std::size_t>(text.size()));
  text.read(0, tokens);
  EXPECT_THAT(tokens, ElementsAre(259, 0, 258, 0, 'x' + 1, 0, 257, 0));
  for (std::size_t begin = 0; begin < tokens.size(); ++begin) {
    Tokens part(tokens.size() - begin);
    text.read(static_cast<std::int64_t>(begin), part);
    EXPECT_EQ(part, Tokens(tokens.begin() + static_cast<std::ptrdiff_t>(begin), tokens.end()));
  }
  EXPECT_EQ(text.bytes(), 9u);
  EXPECT_EQ(text.bytes_of(tokens), 9);
  write("d.tokens", Tokenizer::bytes(), {"abcd"});
  EXPECT_THAT(message_of<DataError>([&] { build("tokens", "{files: [a.tokens, d.tokens]}"); }),
              HasSubstr("different tokenizers"));
  EXPECT_THAT(message_of<DataError>([&] { build("tokens", "{files: [a.tokens], held_out_files: [d.tokens]}"); }),
              HasSubstr("different tokenizers"));
  EXPECT_EQ(build("tokens", "{files: [a.tokens], held_out_files: [b.tokens]}")->held_out_batches(1, 8), 1);
}

TEST_F(TokenFiles, VocabularyGoesWithTheTokensThatNeedOne) {
  folder_.make("a.txt", "some text");
  folder_.make("world.txt", small_world());
  folder_.make("neox.json", small_neox().dump());
  EXPECT_EQ(build("text", "{files: [a.txt], tokens: neox, vocabulary: neox.json}")->vocabulary(), 265);
  EXPECT_THAT(message_of<ConfigError>([&] { build("text", "{files: [a.txt], tokens: world}"); }),
              HasSubstr("needs the file of its vocabulary"));
  EXPECT_THAT(message_of<ConfigError>([&] { build("text", "{files: [a.txt], vocabulary: world.txt}"); }),
              HasSubstr("no vocabulary file"));
  EXPECT_THAT(message_of<DataError>([&] { build("text", "{files: [a.txt], tokens: neox, vocabulary: world.txt}"); }),
              AllOf(HasSubstr("world.txt"), HasSubstr("of the kind world, expected neox")));
}

TEST_F(TokenFiles, AreMadeOfTextAndOfJsonLines) {
  const std::string long_text = [] {
    std::string text;
    while (text.size() < (std::size_t{9} << 20)) text += "abcd it's é\n\n";
    return text;
  }();
  TokenizeOptions options;
  options.files = {folder_.make("a.txt", long_text),
                   folder_.make("b.jsonl", "{\"text\": \"ab\"}\n\n{\"text\": \"\"}\n"),
                   folder_.make("c.jsonl.gz", gzip("{\"text\": \"\u00e9\"}")), folder_.make("d.txt.gz", gzip("x"))};
  options.output = folder_ / "out.tokens";
  std::uint64_t told = 0;
  const TokenizeReport report = tokenize_files(options, world_, [&](std::uint64_t bytes) { told = bytes; });
  const TokenFile file(options.output);
  Tokens expected = world_.encode(long_text);
  const auto first = static_cast<std::int64_t>(expected.size()) + 1;
  for (const std::int64_t token : {0, 258, 0, 0, 260, 0, 'x' + 1, 0}) expected.push_back(token);
  EXPECT_EQ(all(file), expected);
  EXPECT_THAT(file.documents(), ElementsAre(0, first, first + 2, first + 3, first + 5));
  EXPECT_EQ(report.tokens, expected.size());
  EXPECT_EQ(report.documents, 5u);
  EXPECT_EQ(report.bytes, long_text.size() + 5);
  EXPECT_EQ(told, report.bytes);

  options.end_of_text = false;
  options.files = {folder_ / "b.jsonl"};
  tokenize_files(options, world_);
  EXPECT_THAT(all(TokenFile(options.output)), ElementsAre(258));
  options.field = "content";
  EXPECT_THAT(message_of<DataError>([&] { tokenize_files(options, world_); }),
              AllOf(HasSubstr("b.jsonl', line 1"), HasSubstr("'content'")));
  EXPECT_THAT(all(TokenFile(options.output)), ElementsAre(258));  // Untouched.
  options.files = {folder_.make("bad.txt", "abc\xFF")};
  const Tokenizer neox = Tokenizer::of_file(parse_neox_vocabulary(small_neox().dump(), "small.json"));
  EXPECT_THAT(message_of<DataError>([&] { tokenize_files(options, neox); }),
              AllOf(HasSubstr("bad.txt': byte 3"), HasSubstr("UTF-8")));
}

}  // namespace
}  // namespace rwkvlab
