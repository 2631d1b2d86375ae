#include "models/token_sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"

namespace rwkvlab {
namespace {

TEST(TokenSampler, EqualSeedsDrawEqualTokensInAnyOrder) {
  const std::vector<float> logits = {0, 1, 0.5F, 2};
  TokenSampler one({}, {}, 7, 0), other({}, {}, 7, 0), third({}, {}, 8, 0), fourth({}, {}, 7, 1);
  int differs = 0;
  std::vector<std::int64_t> forwards, backwards(50);
  for (int i = 0; i < 50; ++i) forwards.push_back(one.draw(logits, i));
  for (int i = 49; i >= 0; --i) backwards[i] = other.draw(logits, i);
  EXPECT_EQ(forwards, backwards);
  for (int i = 0; i < 50; ++i) differs += third.draw(logits, i) != forwards[i] || fourth.draw(logits, i) != forwards[i];
  EXPECT_GT(differs, 5);
}

TEST(TokenSampler, TemperatureZeroTakesTheFirstOfTheMostProbable) {
  TokenSampler sampler({0, 1, 0}, {}, 1, 0);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(sampler.draw(std::vector<float>{1, 3, 3}, i), 1);
  const std::vector<float> bad = {1, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_THROW(sampler.draw(bad, 0), DataError);
}

// With the logits equal but for 0.1, the penalties decide: presence alone forbids what was said; frequency waits for
// counts to decay.
TEST(TokenSampler, PenaltiesFollowTheCounts) {
  const std::vector<float> logits = {1.0F, 0.9F, 0.8F};
  TokenSampler present({0, 1, 0}, {0.15, 0, 1}, 1, 0);
  std::vector<std::int64_t> drawn;
  for (int i = 0; i < 4; ++i) drawn.push_back(present.draw(logits, i));
  // 1.0 -> 0.85; 0.9 -> 0.75; now 0.85 is the most.
  EXPECT_EQ(drawn, (std::vector<std::int64_t>{0, 1, 0, 0}));

  TokenSampler frequent({0, 1, 0}, {0, 0.15, 0.5}, 1, 0);
  drawn.clear();
  for (int i = 0; i < 4; ++i) drawn.push_back(frequent.draw(logits, i));
  // Counts (1, 0): 0.85, 0.9, 0.8; then (0.5, 1): 0.925, 0.75, 0.8; then (1.25, 0.5): 0.8125, 0.825, 0.8.
  EXPECT_EQ(drawn, (std::vector<std::int64_t>{0, 1, 0, 1}));
}

TEST(TokenSampler, UncountedTokensArePresentAndHaveNoCount) {
  const std::vector<float> logits = {1.0F, 0.5F};
  const auto never = [](std::int64_t) { return false; };
  TokenSampler frequent({0, 1, 0}, {0, 10, 1}, 1, 0, never);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(frequent.draw(logits, i), 0);
  TokenSampler present({0, 1, 0}, {1, 0, 1}, 1, 0, never);
  EXPECT_EQ(present.draw(logits, 0), 0);
  EXPECT_EQ(present.draw(logits, 1), 1);
}

TEST(TokenSampler, TopPOfOneKeepsAllTokens) {
  std::vector<float> logits;
  for (int i = 0; i < 100; ++i) logits.push_back(std::sin(static_cast<float>(i)));
  TokenSampler sampler({}, {}, 3, 0);
  std::vector<int> seen(100, 0);
  for (int i = 0; i < 2000; ++i) seen[static_cast<std::size_t>(sampler.draw(logits, i))] = 1;
  // The least probable token comes up 8 times in 2000; that 30 of them stay away is out of reach.
  EXPECT_GT(std::count(seen.begin(), seen.end(), 1), 70);
}

TEST(TokenSampler, NamesTheOptionThatIsOutOfRange) {
  EXPECT_NO_THROW(check_sampling({}, {}));
  for (const auto& [sampling, penalties, option] :
       std::vector<std::tuple<SamplingParams, PenaltyParams, const char*>>{{{-1, 1, 0}, {}, "--temperature"},
                                                                           {{1, 2, 0}, {}, "--top-p"},
                                                                           {{1, 1, -1}, {}, "--top-k"},
                                                                           {{}, {0, 0, 2}, "--penalty-decay"},
                                                                           {{}, {NAN, 0, 0}, "--presence-penalty"}}) {
    try {
      check_sampling(sampling, penalties);
      FAIL() << option;
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find(option), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace rwkvlab
