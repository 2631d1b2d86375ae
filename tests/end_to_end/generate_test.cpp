// Text from the real executable.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tensor/safetensors.h"
#include "tests/end_to_end/experiment.h"

namespace rwkvlab {
namespace {
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class Generate : public Program {
 protected:
  Generate() { EXPECT_EQ(train("run", {"--set", "data.tokens=characters"}).code, 0); }
  Finished generate(std::vector<std::string> arguments, const std::string& tokens = "40",
                    const std::string& seed = "3") const {
    arguments.insert(arguments.begin(), {"generate", "run", "--tokens", tokens, "--seed", seed});
    return program(arguments);
  }
};

TEST_F(Generate, EqualSeedsSayEqualTextsWithAnyNumberOfThreads) {
  const Finished one = generate({"--prompt", ".1+7=", "--threads", "1"});
  ASSERT_EQ(one.code, 0) << one.error;
  EXPECT_THAT(one.out, StartsWith(".1+7="));
  EXPECT_EQ(one.out.size(), 45U);
  EXPECT_THAT(one.error, AllOf(HasSubstr("5 prompt tokens"), HasSubstr("40 generated")));
  EXPECT_EQ(generate({"--prompt", ".1+7=", "--threads", "3"}).out, one.out);
  EXPECT_NE(generate({"--prompt", ".1+7="}, "40", "4").out, one.out);
}

TEST_F(Generate, GoesOnFromASavedState) {
  const std::string whole = generate({"--prompt", ".12+84="}).out;
  ASSERT_EQ(generate({"--prompt", ".12+84=", "--save-state", "half.safetensors"}, "10").code, 0);
  const Finished rest = generate({"--state", "half.safetensors"}, "30");
  ASSERT_EQ(rest.code, 0) << rest.error;
  EXPECT_EQ(".12+84=" + whole.substr(7, 10) + rest.out, whole);
  ASSERT_EQ(train("other", {"--set", "seed=9", "--set", "data.tokens=characters"}).code, 0);
  const Finished other = program({"generate", "other", "--state", "half.safetensors"});
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.error, HasSubstr("other weights"));
}

TEST_F(Generate, RefusesAStateOfSeveralSequences) {
  ASSERT_EQ(generate({"--prompt", ".12+84=", "--save-state", "one.safetensors"}, "0").code, 0);
  {
    const SafetensorsFile one(folder_ / "one.safetensors");
    std::vector<NamedTensor> twice;
    for (const std::string& name : one.names()) {
      const Tensor row = one.tensor(name);
      std::vector<std::int64_t> sizes(row.shape().sizes().begin(), row.shape().sizes().end());
      sizes[0] = 2;
      twice.push_back({name, Tensor::empty(Shape(sizes), row.dtype())});
      for (const std::int64_t place : {0, 1}) twice.back().tensor.rows(place, place + 1).copy_from(row);
    }
    write_safetensors(folder_ / "two.safetensors", twice, one.metadata());
  }
  EXPECT_EQ(generate({"--state", "one.safetensors"}).code, 0);
  const Finished two = generate({"--state", "two.safetensors"});
  EXPECT_EQ(two.code, 3);
  EXPECT_THAT(two.error, HasSubstr("a state of 2 sequences, expected one"));
}

TEST_F(Generate, SaysOnlyWhatTheTokenizerKnows) {
  ASSERT_EQ(train("wide", {"--set", "model.vocabulary_size=2000", "--set", "train.steps=1"}).code, 0);
  const Finished said = program({"generate", "wide", "--prompt", ".", "--tokens", "50", "--temperature", "10",
                                 "--top-p", "1", "--tokenizer", "bytes"});
  EXPECT_EQ(said.code, 0) << said.error;
}

TEST_F(Generate, EndsAtAStopTextThatIsNotShown) {
  const std::string whole = generate({"--prompt", "."}).out;
  const std::string stop = whole.substr(10, 3);
  const Finished stopped = generate({"--prompt", ".", "--stop", "never", "--stop", stop});
  EXPECT_EQ(stopped.out, whole.substr(0, whole.find(stop, 1)));
}

TEST_F(Generate, SeveralContinuationsOfSeveralPrompts) {
  const Finished several = generate({"--prompt", ".1+", "--prompt", ".20+", "--batch", "2"});
  ASSERT_EQ(several.code, 0) << several.error;
  EXPECT_THAT(several.out, AllOf(HasSubstr("--- 1 ---"), HasSubstr("--- 4 ---"), Not(HasSubstr("--- 5 ---"))));
  const Finished alone = generate({"--prompt", ".1+"});
  EXPECT_THAT(several.out, HasSubstr("--- 1 ---\n" + alone.out.substr(3)));
}

TEST_F(Generate, TakesEveryFormatAndSaysWhatIsWrong) {
  for (const std::string format : {"float32", "bfloat16", "int8"}) {
    EXPECT_EQ(generate({"--prompt", ".", "--format", format}).code, 0) << format;
  }
  EXPECT_EQ(generate({"--prompt", ".", "--format", "int4"}).code, 2);
  const Finished empty = generate({"--prompt", ""});
  EXPECT_EQ(empty.code, 3);
  EXPECT_THAT(empty.error, HasSubstr("the prompt is empty"));
  const Finished hot = generate({"--prompt", ".", "--top-p", "1.5"});
  EXPECT_EQ(hot.code, 2);
  EXPECT_THAT(hot.error, HasSubstr("--top-p is 1.5"));
  EXPECT_EQ(program({"generate", "nowhere", "--prompt", "."}).code, 3);
  EXPECT_EQ(generate({"--prompt-file", "nowhere.txt"}).code, 3);
  const Finished lost = generate({"--prompt", ".", "--save-state", "nowhere/state.safetensors"});
  EXPECT_EQ(lost.code, 1);
  EXPECT_THAT(lost.error, HasSubstr("no folder 'nowhere'"));
  EXPECT_EQ(lost.out, "") << "found before the prompt is read";
}

TEST_F(Generate, CtrlCEndsWithAWholeLine) {
  Running running(folder_.path(), {"generate", "run", "--prompt", ".", "--tokens", "100000000"});
  // Half a minute for a start that takes milliseconds.
  for (int turn = 0; turn < 15000 && text_of(folder_ / ".stdout").size() < 100; ++turn) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  running.send(SIGINT);
  const Finished finished = running.finish();
  EXPECT_EQ(finished.code, 130);
  EXPECT_THAT(finished.error, HasSubstr("interrupted: "));
}

}  // namespace
}  // namespace rwkvlab
