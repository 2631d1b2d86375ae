// Tokenizing, training on a token file, evaluating, and the table of the results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/data/small_vocabularies.h"
#include "tests/end_to_end/experiment.h"

namespace rwkvlab {
namespace {
using testing::AllOf;
using testing::HasSubstr;

class EvaluationCommands : public Program {
 protected:
  nlohmann::json json(std::vector<std::string> arguments) const {
    arguments.emplace_back("--json");
    const Finished finished = program(arguments);
    EXPECT_EQ(finished.code, 0) << finished.error;
    return nlohmann::json::parse(finished.out, nullptr, false);
  }
};

TEST_F(EvaluationCommands, FromTextToTable) {
  folder_.make("world.txt", small_world());
  const nlohmann::json tokens = json({"tokenize", "text.txt", "--tokenizer", "world.txt", "-o", "text.tokens"});
  EXPECT_EQ(tokens["documents"], 1);
  EXPECT_EQ(tokens["vocabulary"], 264);
  EXPECT_GT(tokens["tokens"], 10000);
  EXPECT_GT(tokens["bytes_per_token"], 0.99);

  const Finished run = train("run", {"--set", "data={kind: tokens, files: [text.tokens]}"});
  ASSERT_EQ(run.code, 0) << run.error;

  // The run knows its tokenizer: text and token file are the same thing to it, but for the end of text.
  const nlohmann::json text = json({"eval", "text", "run", "text.txt", "--limit", "500"});
  const nlohmann::json filed = json({"eval", "text", "run", "text.tokens", "--limit", "500", "--name", "filed"});
  EXPECT_EQ(text["tokens"], 499);
  EXPECT_EQ(text["context"], 32);
  EXPECT_EQ(text["loss"], filed["loss"]);
  EXPECT_LT(text["loss"], 5.5) << "less than ln 264: something was learned";
  EXPECT_EQ(text["loss_by_position"].size(), 32u);
  const nlohmann::json carried =
      json({"eval", "text", "run", "text.txt", "--limit", "500", "--carry-state", "--name", "carried", "--no-record"});
  EXPECT_NE(carried["loss"], text["loss"]);

  folder_.make("lambada_test.jsonl", "{\"text\": \".1+7= .2+14=\"}\n");
  folder_.make("sums.jsonl",
               "{\"context\": \".1+7=\", \"choices\": [\".2+14\", \"x\"], \"gold\": 0, \"delimiter\": \"\"}\n");
  const Finished lambada = program({"eval", "lambada", "run", "lambada_test.jsonl"});
  EXPECT_EQ(lambada.code, 0) << lambada.error;
  EXPECT_THAT(lambada.out, AllOf(HasSubstr("1 passages"), HasSubstr("perplexity"), HasSubstr("run/eval.h5")));
  const nlohmann::json choice = json({"eval", "choice", "run", "sums.jsonl", "--start", "end_of_text"});
  EXPECT_EQ(choice["answers"][0]["log_probabilities"].size(), 2u);
  EXPECT_EQ(choice["accuracy_bytes"], 1.0);
  EXPECT_EQ(choice["accuracy_norm"], 1.0) << "a digit is more likely than a letter that never came";

  folder_.make("mixed.jsonl", "{\"context\": \"a\", \"choices\": [\"b\", 3], \"gold\": 0}\n");
  EXPECT_THAT(program({"eval", "choice", "run", "mixed.jsonl"}).error,
              HasSubstr("'mixed.jsonl', line 1: a choice is 3, expected a text"));

  // Official weights do not say how long their contexts were.
  ASSERT_EQ(program({"export", "run", "-o", "run.pth"}).code, 0);
  const nlohmann::json official =
      json({"eval", "text", "run.pth", "text.txt", "--limit", "500", "--tokenizer", "world.txt"});
  EXPECT_EQ(official["context"], 1024);

  const Finished table =
      program({"table", "run/eval.h5", "--metric",
               "eval/text/bits_per_byte,eval/filed/loss,eval/lambada/perplexity,eval/sums/accuracy"});
  EXPECT_EQ(table.code, 0) << table.error;
  EXPECT_THAT(table.out, AllOf(HasSubstr("text/bits_per_byte"), HasSubstr("lambada/perplexity")));
  EXPECT_EQ(program({"table", "run/eval.h5", "--metric", "eval/filed/loss"}).code, 0);
  // What was measured before the training went on is no result of it.
  ASSERT_EQ(program({"run", "small.yaml", "--no-figures", "--out", "run", "--resume", "--set",
                     "data={kind: tokens, files: [text.tokens]}", "--set", "train.steps=70"})
                .code,
            0);
  EXPECT_THAT(program({"table", "run", "--metric", "eval/loss"}).out,
              AllOf(HasSubstr("eval.h5 is of step 60"), HasSubstr("evaluate it again")));
  EXPECT_NE(program({"table", "run", "--metric", "eval/filed/loss"}).code, 0);
}

TEST_F(EvaluationCommands, ErrorsAreClear) {
  EXPECT_EQ(program({"eval"}).code, 2);
  EXPECT_EQ(program({"eval", "text", "missing", "text.txt"}).code, 3);
  EXPECT_EQ(program({"eval", "text", "run", "text.txt", "--threads", "-1"}).code, 2);
  EXPECT_EQ(program({"tokenize", "text.txt", "-o", "x"}).code, 2);
  const Finished missing = program({"tokenize", "text.txt", "--tokenizer", "wrold.txt", "-o", "x"});
  EXPECT_EQ(missing.code, 3);
  EXPECT_THAT(missing.error, HasSubstr("wrold.txt"));
  folder_.make("duplicate.txt", world_bytes() + "256 'ab' 2\n");
  const Finished duplicate = program({"tokenize", "text.txt", "--tokenizer", "duplicate.txt", "-o", "x"});
  EXPECT_EQ(duplicate.code, 3);
  EXPECT_THAT(duplicate.error, HasSubstr("line 257: the id 256 stands in an earlier line"));
  folder_.make("empty.txt", "");
  EXPECT_THAT(program({"tokenize", "empty.txt", "--tokenizer", "bytes", "-o", "x"}).error, HasSubstr("no text"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "x"));

  // The tokenizer of a run, for more text.
  ASSERT_EQ(train("characters", {"--set", "data.tokens=characters", "--set", "train.steps=1"}).code, 0);
  EXPECT_EQ(program({"tokenize", "text.txt", "--tokenizer", "characters", "-o", "characters.tokens"}).code, 0);
  EXPECT_EQ(program({"eval", "text", "characters", "characters.tokens", "--limit", "100"}).code, 0);
  EXPECT_EQ(program({"tokenize", "text.txt", "--tokenizer", "characters.tokens", "-o", "again.tokens"}).code, 0);
  EXPECT_EQ(file("again.tokens"), file("characters.tokens"));

  // Tokens of another tokenizer would be scored as if they were the model's, and token files as if they were text.
  ASSERT_EQ(train("run").code, 0);
  folder_.make("world.txt", small_world());
  for (const std::string tokenizer : {"world.txt", "bytes"})
    ASSERT_EQ(program({"tokenize", "text.txt", "--tokenizer", tokenizer, "-o", tokenizer + ".tokens"}).code, 0);
  EXPECT_EQ(program({"eval", "text", "run", "bytes.tokens", "--limit", "100"}).code, 0);
  const Finished other = program({"eval", "text", "run", "world.txt.tokens", "--limit", "100"});
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.error, HasSubstr("made with another tokenizer (world, 264 tokens)"));
  for (const auto& [first, second] : {std::pair("text.txt", "bytes.tokens"), std::pair("bytes.tokens", "text.txt")}) {
    const Finished mixed = program({"eval", "text", "run", first, second});
    EXPECT_EQ(mixed.code, 3);
    EXPECT_THAT(mixed.error, HasSubstr("1 of the 2 files holds tokens"));
  }
}

}  // namespace
}  // namespace rwkvlab
