// Targets of state tracking against solvers that know nothing of tables of products.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "tests/data/task_examples.h"

namespace rwkvlab {
namespace {

using test::counted_places;
using test::Example;
using test::examples_of;
using test::refused_task;
using testing::AllOf;
using testing::HasSubstr;

std::vector<std::string> words_of(const std::string& yaml) {
  const auto data = test::build_task("state_tracking", yaml);
  std::vector<std::string> words;
  for (std::int64_t i = 0; i < data->vocabulary(); ++i) {
    const std::int64_t token[] = {i};
    words.push_back(data->tokenizer().decode(token));
    words.back().pop_back();
  }
  return words;
}

TEST(StateTracking, ParityAndSums) {
  for (const auto& [problem, modulus] : {std::pair{"parity", 2}, std::pair{"modular_sum", 7}}) {
    const std::string yaml = fmt::format("{{problem: {}, modulus: 7, train: [{{length: 33}}]}}", problem);
    EXPECT_EQ(static_cast<int>(words_of(yaml).size()), modulus);
    for (const Example& e : examples_of("state_tracking", yaml)) {
      for (std::size_t t = 0; t < 33; ++t) {
        const std::int64_t sum =
            std::accumulate(e.tokens.begin(), e.tokens.begin() + static_cast<std::ptrdiff_t>(t) + 1, std::int64_t{0});
        ASSERT_EQ(e.targets[t], sum % modulus);
      }
    }
  }
}

// Moves a row of balls: the permutation "120" takes the ball at place 0 to place 1, and so on.
TEST(StateTracking, WordProblemsOfPermutationGroups) {
  const std::map<std::string, std::size_t> sizes = {{"s3", 6}, {"s4", 24}, {"s5", 120}, {"a4", 12}, {"a5", 60}};
  for (const auto& [problem, size] : sizes) {
    const std::string yaml = fmt::format("{{problem: {}, train: [{{length: 20}}]}}", problem);
    const std::vector<std::string> words = words_of(yaml);
    EXPECT_EQ(words.size(), size);
    EXPECT_EQ(std::set<std::string>(words.begin(), words.end()).size(), size);
    EXPECT_TRUE(std::is_sorted(words.begin(), words.end()));
    std::set<std::int64_t> seen;
    for (const Example& e : examples_of("state_tracking", yaml)) {
      std::string balls = words[0];
      for (std::size_t t = 0; t < e.tokens.size(); ++t) {
        const std::string& move = words[static_cast<std::size_t>(e.tokens[t])];
        std::string next = balls;
        for (std::size_t place = 0; place < balls.size(); ++place) {
          next[static_cast<std::size_t>(move[place] - '0')] = balls[place];
        }
        balls = next;
        const std::string& state = words[static_cast<std::size_t>(e.targets[t])];
        for (std::size_t ball = 0; ball < balls.size(); ++ball) {
          ASSERT_EQ(balls[static_cast<std::size_t>(state[ball] - '0')], static_cast<char>('0' + ball));
        }
        seen.insert(e.tokens[t]);
      }
    }
    EXPECT_EQ(seen.size(), size) << "every element occurs";
  }
}

TEST(StateTracking, SwapsReachEveryPermutation) {
  const std::string yaml = "{problem: s5, elements: swaps, train: [{length: 20}]}";
  const std::vector<std::string> words = words_of(yaml);
  EXPECT_EQ(words.size(), 120u);
  std::set<std::int64_t> moves, states;
  for (const Example& e : examples_of("state_tracking", yaml, 2000)) {
    std::string points = words[0];
    for (std::size_t t = 0; t < e.tokens.size(); ++t) {
      const std::string& move = words[static_cast<std::size_t>(e.tokens[t])];
      for (char& place : points) place = move[static_cast<std::size_t>(place - '0')];
      ASSERT_EQ(points, words[static_cast<std::size_t>(e.targets[t])]);
      moves.insert(e.tokens[t]);
      states.insert(e.targets[t]);
    }
  }
  EXPECT_EQ(moves.size(), 10u);
  EXPECT_EQ(states.size(), 120u);
  EXPECT_THAT(refused_task("state_tracking", "{problem: a5, elements: swaps}"), HasSubstr("s3, s4 or s5"));
}

// The value of an expression by splitting it at + and -, then at *.
std::int64_t value_of(const std::vector<std::int64_t>& tokens, std::size_t end, std::int64_t modulus) {
  std::int64_t total = 0, sign = 1;
  for (std::size_t i = 0; i < end;) {
    std::int64_t product = tokens[i++];
    while (i < end && tokens[i] == modulus + 2) {
      product = product * tokens[i + 1] % modulus;
      i += 2;
    }
    total += sign * product;
    if (i < end) sign = tokens[i++] == modulus ? 1 : -1;
  }
  return (total % modulus + modulus) % modulus;
}

TEST(StateTracking, ModularArithmetic) {
  for (const std::int64_t modulus : {2, 5, 97}) {
    const std::string yaml =
        fmt::format("{{problem: modular_arithmetic, modulus: {}, train: [{{length: 41}}]}}", modulus);
    EXPECT_EQ(words_of(yaml).back(), "*");
    std::set<std::int64_t> operators;
    for (const Example& e : examples_of("state_tracking", yaml)) {
      for (std::size_t t = 0; t < e.tokens.size(); ++t) {
        if (t % 2 == 1) {
          operators.insert(e.tokens[t] - modulus);
          ASSERT_EQ(e.targets[t], no_target);
        } else {
          ASSERT_LT(e.tokens[t], modulus);
          ASSERT_EQ(e.targets[t], value_of(e.tokens, t + 1, modulus)) << t;
        }
      }
    }
    EXPECT_EQ(operators, (std::set<std::int64_t>{0, 1, 2}));
  }
}

TEST(StateTracking, OnlyTheLastStateOfSequencesOfAnyLength) {
  for (const auto& [problem, stride] : {std::pair{"a5", 1}, std::pair{"modular_arithmetic", 2}}) {
    std::map<std::size_t, int> lengths;
    const std::string yaml = fmt::format("{{problem: {}, score: last, train: [{{shortest: 3, length: 21}}]}}", problem);
    for (const Example& e : examples_of("state_tracking", yaml, 2000)) {
      const auto places = counted_places(e);
      ASSERT_EQ(places.size(), 1u);
      ++lengths[places[0] + 1];
      for (std::size_t i = places[0] + 1; i < e.tokens.size(); ++i) ASSERT_EQ(e.tokens[i], 0);
      if (stride == 2) {
        ASSERT_EQ(e.targets[places[0]], value_of(e.tokens, places[0] + 1, 5));
      }
    }
    EXPECT_EQ(lengths.begin()->first, 3u);
    EXPECT_EQ(lengths.rbegin()->first, 21u);
    EXPECT_EQ(static_cast<int>(lengths.size()), 18 / stride + 1);
    // About 105 or 200 each, five deviations are 70 at most.
    for (const auto& [length, count] : lengths) EXPECT_NEAR(count, 2000.0 / (18 / stride + 1), 70) << length;
  }
}

TEST(StateTracking, LengthsOfTrainingAndEvaluationDiffer) {
  const auto data = test::build_task(
      "state_tracking", "{train: [{length: 8}], eval: [{length: 8, examples: 5}, {length: 32, examples: 5}]}");
  EXPECT_EQ(data->training_batch(0, 4, 8).tokens.shape(), Shape({4, 8}));
  ASSERT_EQ(data->held_out_batches(5, 8), 2);
  EXPECT_EQ(data->held_out_batch(0, 5, 8).evaluation_set, "length_8");
  const Batch longer = data->held_out_batch(1, 5, 8);
  EXPECT_EQ(longer.evaluation_set, "length_32");
  EXPECT_EQ(longer.tokens.shape(), Shape({5, 32}));
}

TEST(StateTracking, ImpossibleSettingsAreNamed) {
  const auto refusal = [](const std::string& yaml) { return refused_task("state_tracking", yaml); };
  EXPECT_THAT(refusal("{problem: s6}"), AllOf(HasSubstr("problem"), HasSubstr("s5")));
  EXPECT_THAT(refusal("{problem: modular_arithmetic}"), AllOf(HasSubstr("length is 64"), HasSubstr("odd")));
  EXPECT_THAT(refusal("{problem: modular_arithmetic, train: [{length: 9, shortest: 4}]}"), HasSubstr("shortest is 4"));
  EXPECT_THAT(refusal("{eval: [{length: 9, shortest: 10}]}"), AllOf(HasSubstr("eval.0"), HasSubstr("at most length")));
  EXPECT_THAT(refusal("{modulus: 1}"), HasSubstr("modulus"));
}

}  // namespace
}  // namespace rwkvlab
