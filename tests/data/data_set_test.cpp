#include "data/data_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "config/registry.h"
#include "config/yaml_reader.h"
#include "data/batch_order.h"
#include "data/token_text.h"
#include "tests/temporary_folder.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::unique_ptr<TokenDataSet> build(const std::string& kind, const std::string& yaml, const DataSite& site) {
  return build_token_data(make_choice(data_slot, kind, parse_yaml(yaml, "test.yaml")), site);
}

std::vector<std::int64_t> values(const Tensor& tensor) {
  const auto span = tensor.span<std::int64_t>();
  return {span.begin(), span.end()};
}

// The text of a row of byte tokens, without padding.
std::string row_text(const Tensor& tensor, std::int64_t row) {
  std::string text;
  for (std::int64_t i = 0; i < tensor.shape()[1]; ++i) {
    const std::int64_t token = tensor.data<std::int64_t>()[row * tensor.shape()[1] + i];
    if (token != no_target) text += static_cast<char>(token);
  }
  return text;
}

// A text in which every token differs from all others for a while, so that places can be told from values.
std::string countable(std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) text += static_cast<char>('!' + i % 90);
  return text;
}

class TextData : public testing::Test {
 protected:
  std::unique_ptr<TokenDataSet> text(const std::string& yaml, std::uint64_t seed = 1) const {
    return build("text", yaml, {folder_.path(), seed});
  }
  std::string refusal(const std::string& yaml) const {
    return message_of<DataError>([&] { text(yaml); });
  }
  TemporaryFolder folder_;
};

TEST(MagicPrime, ExampleOfTheOfficialCode) {
  EXPECT_EQ(magic_prime(101), 101);
  EXPECT_EQ(magic_prime(106), 101);
  EXPECT_EQ(magic_prime(107), 107);
  EXPECT_EQ(magic_prime(2), 2);
  EXPECT_EQ(magic_prime(1), 0);
  EXPECT_EQ(magic_prime(324331313), 324331313);  // Of the Pile runs.
  const BatchOrder order(Order::magic_prime, 102 * 16, 1, 16, "text");
  const RandomStream random(0, "unused");
  std::vector<std::int64_t> places;
  for (std::int64_t step = 0; step < 7; ++step) places.push_back(order.begin(random, step, 0));
  EXPECT_THAT(places, ElementsAre(992, 1472, 928, 464, 1184, 960, 896));
}

TEST(MagicPrime, AnEpochVisitsEachSlotOnce) {
  for (const std::int64_t tokens : {17, 100, 1000, 5003}) {
    const BatchOrder order(Order::magic_prime, tokens, 1, 8, "text");
    const RandomStream random(0, "unused");
    const std::int64_t slots = magic_prime((tokens - 1) / 8);
    std::set<std::int64_t> places;
    for (std::int64_t step = 0; step < slots; ++step) {
      const std::int64_t place = order.begin(random, step, 0);
      EXPECT_EQ(place % 8, 0);
      EXPECT_LE(place + 8 + 1, tokens);
      places.insert(place);
    }
    EXPECT_EQ(static_cast<std::int64_t>(places.size()), slots);
  }
}

TEST(RandomOffsets, AreUniformAndInside) {
  const BatchOrder order(Order::random_offsets, 16, 4, 5, "text");
  const RandomStream random(3, "offsets");
  std::map<std::int64_t, int> counts;
  const int steps = 5000;
  for (int step = 0; step < steps; ++step) {
    for (int row = 0; row < 4; ++row) ++counts[order.begin(random, step, row)];
  }
  ASSERT_EQ(counts.size(), 10u);  // [0, 16 - 5 - 1)
  EXPECT_EQ(counts.begin()->first, 0);
  EXPECT_EQ(counts.rbegin()->first, 9);
  // 2000 expected; five standard deviations of a binomial count are 212.
  for (const auto& [place, count] : counts) EXPECT_NEAR(count, 2000, 212) << place;
}

TEST(BatchOrder, RefusesShortTextsAndOddSizes) {
  const auto refusal = [](Order order, std::int64_t tokens, std::int64_t batch, std::int64_t context) {
    return message_of<DataError>([&] { BatchOrder(order, tokens, batch, context, "'a.txt'"); });
  };
  EXPECT_THAT(refusal(Order::random_offsets, 9, 2, 8),
              AllOf(HasSubstr("'a.txt'"), HasSubstr("9 tokens"), HasSubstr("at least 10")));
  EXPECT_THAT(refusal(Order::magic_prime, 16, 2, 8), HasSubstr("at least 17"));
  EXPECT_THAT(refusal(Order::sequential, 16, 2, 8), HasSubstr("at least 17"));
  EXPECT_THAT(refusal(Order::sequential, 16, 2000000000, 2000000000), HasSubstr("at least 4000000000000000001"));
  EXPECT_THAT(refusal(Order::random_offsets, 16, 0, 8), HasSubstr("1 to 2^31"));
  EXPECT_THAT(refusal(Order::random_offsets, 16, 1, std::int64_t{1} << 40), HasSubstr("1 to 2^31"));
  EXPECT_NO_THROW(BatchOrder(Order::random_offsets, 10, 2, 8, ""));
  EXPECT_NO_THROW(BatchOrder(Order::magic_prime, 17, 2, 8, ""));
  EXPECT_NO_THROW(BatchOrder(Order::sequential, 17, 2, 8, ""));
}

TEST_F(TextData, BatchesDependOnSeedAndStepOnly) {
  folder_.make("a.txt", countable(4000));
  const auto first = text("files: [a.txt]"), second = text("files: [a.txt]"), other = text("files: [a.txt]", 2);
  EXPECT_EQ(first->vocabulary(), 256);
  EXPECT_EQ(first->training_tokens(), 3600);
  const Batch ahead = first->training_batch(7, 3, 16);
  second->training_batch(1, 5, 32);
  const Batch again = second->training_batch(7, 3, 16);
  EXPECT_EQ(ahead.tokens.shape(), (Shape{3, 16}));
  EXPECT_EQ(values(ahead.tokens), values(again.tokens));
  EXPECT_EQ(values(ahead.targets), values(again.targets));
  EXPECT_NE(values(ahead.tokens), values(other->training_batch(7, 3, 16).tokens));
  EXPECT_NE(values(ahead.tokens), values(first->training_batch(8, 3, 16).tokens));
  EXPECT_EQ(ahead.source_bytes, 48);
  EXPECT_FALSE(ahead.carries_state);
  for (std::int64_t row = 0; row < 3; ++row) {
    EXPECT_EQ(row_text(ahead.tokens, row).substr(1), row_text(ahead.targets, row).substr(0, 15));
    EXPECT_NE(countable(4000).find(row_text(ahead.targets, row)), std::string::npos);
  }
}

TEST_F(TextData, SequentialRowsReadOn) {
  const std::string whole = countable(67);
  folder_.make("a.txt", whole);
  const auto data = text("{files: [a.txt], held_out_fraction: 0, order: sequential}");
  // 66 inputs in two streams of 33: four rows of 8, then again from the beginning.
  std::string streams[2];
  for (std::int64_t step = 0; step < 4; ++step) {
    const Batch batch = data->training_batch(step, 2, 8);
    EXPECT_EQ(batch.carries_state, step != 0);
    for (int row = 0; row < 2; ++row) streams[row] += row_text(batch.tokens, row);
  }
  EXPECT_EQ(streams[0], whole.substr(0, 32));
  EXPECT_EQ(streams[1], whole.substr(33, 32));
  const Batch wrapped = data->training_batch(4, 2, 8);
  EXPECT_FALSE(wrapped.carries_state);
  EXPECT_EQ(values(wrapped.tokens), values(data->training_batch(0, 2, 8).tokens));
}

TEST_F(TextData, HeldOutTokensAreTargetsExactlyOnce) {
  const std::string whole = countable(503);
  folder_.make("a.txt", whole);
  const auto data = text("{files: [a.txt], held_out_fraction: 0.2}");
  EXPECT_EQ(data->training_tokens(), 403);
  for (const std::int64_t batch : {1, 3, 4, 100}) {
    for (const std::int64_t context : {1, 7, 100, 1000}) {
      std::string targets;
      std::int64_t bytes = 0;
      const std::int64_t count = data->held_out_batches(batch, context);
      for (std::int64_t i = 0; i < count; ++i) {
        const Batch each = data->held_out_batch(i, batch, context);
        EXPECT_LE(each.tokens.shape()[0], batch);
        EXPECT_FALSE(each.carries_state);
        bytes += each.source_bytes;
        for (std::int64_t row = 0; row < each.tokens.shape()[0]; ++row) {
          const std::string row_targets = row_text(each.targets, row);
          EXPECT_EQ(row_text(each.tokens, row).substr(0, row_targets.size())[0], whole[403 + targets.size() - 1]);
          targets += row_targets;
        }
      }
      EXPECT_EQ(targets, whole.substr(403)) << batch << " " << context;
      EXPECT_EQ(bytes, 100);
    }
  }
  EXPECT_EQ(data->held_out_batches(1, 10), 10);
  EXPECT_EQ(data->held_out_batches(1, 10, 3), 3);
  EXPECT_EQ(data->held_out_batches(1, 10, 30), 10);
  EXPECT_THROW(data->held_out_batch(10, 1, 10), BugError);
  EXPECT_EQ(text("{files: [a.txt], held_out_fraction: 0}")->held_out_batches(1, 10), 0);
}

TEST_F(TextData, HeldOutFilesAreNeverTrainedOn) {
  folder_.make("a.txt", std::string(100, 'a'));
  folder_.make("valid.txt", "bcdef");
  const auto data = text("{files: ['*.txt'], held_out_files: [valid.txt]}");
  EXPECT_EQ(data->training_tokens(), 100);
  ASSERT_EQ(data->held_out_batches(4, 10), 1);
  const Batch batch = data->held_out_batch(0, 4, 10);
  EXPECT_EQ(row_text(batch.targets, 0), "cdef");
  EXPECT_EQ(batch.source_bytes, 4);
  EXPECT_THAT(refusal("{files: ['*.txt'], held_out_files: [valid.txt], tokens: characters}"),
              AllOf(HasSubstr("valid.txt"), HasSubstr("(U+0062) at byte 0"), HasSubstr("training text")));
  EXPECT_THROW(text("{files: [a.txt], held_out_files: [valid.txt], held_out_fraction: 0.1}"), ConfigError);
  EXPECT_THAT(refusal("{files: [valid.txt], held_out_files: ['*.txt']}"), HasSubstr("at least one file"));
}

TEST_F(TextData, CharactersCountBytes) {
  folder_.make("a.txt", "aßaßaßaßaß€€€€€€€€€€");
  const auto data = text("{files: [a.txt], tokens: characters, held_out_fraction: 0.5}");
  EXPECT_EQ(data->vocabulary(), 3);
  EXPECT_EQ(data->training_tokens(), 10);
  EXPECT_DOUBLE_EQ(data->bytes_per_token(), 45.0 / 20);
  const Batch batch = data->held_out_batch(0, 1, 16);
  EXPECT_EQ(batch.source_bytes, 30);
  EXPECT_EQ(batch.source_characters, 10);
  // The last five characters, byte by byte; a part of one counts where it begins.
  const auto bytes = text("{files: [a.txt], held_out_fraction: 0.34}");
  EXPECT_EQ(bytes->held_out_batch(0, 1, 16).source_bytes, 15);
  EXPECT_EQ(bytes->held_out_batch(0, 1, 16).source_characters, 5);
  EXPECT_EQ(bytes->held_out_batch(0, 1, 2).source_characters, 1);
  EXPECT_EQ(batch.tokens.data<std::int64_t>()[0], 1);
  EXPECT_EQ(batch.targets.data<std::int64_t>()[9], 2);
  EXPECT_EQ(batch.targets.data<std::int64_t>()[10], no_target);
  EXPECT_THAT(data->describe(), AllOf(HasSubstr("a.txt"), HasSubstr("45 bytes"), HasSubstr("3 characters"),
                                      HasSubstr("10 training and 10 held-out tokens")));
  data->save_vocabulary(folder_ / "vocabulary.json");
  EXPECT_EQ(Tokenizer::load(folder_ / "vocabulary.json"), data->tokenizer());
}

TEST_F(TextData, ManyFilesAreOneText) {
  std::string whole;
  for (int i = 0; i < 20; ++i) {
    const std::string part = countable(static_cast<std::size_t>(i * 13 % 7 * 10));
    folder_.make("part" + std::to_string(100 + i) + ".txt", part);
    whole += part;
  }
  // Large enough to be mapped rather than copied.
  const std::string large(5 << 20, 'L');
  folder_.make("part200.txt", large);
  whole += large;
  const TokenText text(std::make_shared<const TextSource>(expand_glob("*.txt", folder_.path())),
                       std::make_shared<const Tokenizer>(Tokenizer::bytes()));
  ASSERT_EQ(text.size(), static_cast<std::int64_t>(whole.size()));
  const RandomStream random(5, "ranges");
  for (std::uint64_t i = 0; i < 300; ++i) {
    std::vector<std::int64_t> tokens(random.below(2 * i, 300));
    const auto begin = static_cast<std::int64_t>(random.below(2 * i + 1, 800));
    text.read(begin, tokens);
    for (std::size_t k = 0; k < tokens.size(); ++k) {
      ASSERT_EQ(tokens[k], whole[static_cast<std::size_t>(begin) + k]);
    }
  }
  std::vector<std::int64_t> tail(10);
  text.read(text.size() - 10, tail);
  EXPECT_THROW(text.read(text.size() - 9, tail), BugError);
  EXPECT_THROW(text.read(-1, tail), BugError);
}

TEST_F(TextData, FilesStartAtTheFolderOfTheExperiment) {
  folder_.make("lib/a.cpp", "aaaaaaaaaa");
  folder_.make("lib/deep/b.cpp", "bbbbbbbbbb");
  folder_.make("lib/generated/c.cpp", "cccccccccc");
  folder_.make("lib/empty.cpp", "");
  folder_.make("experiments/quick/experiment.yaml", "");
  const DataSite site{folder_ / "experiments/quick", 1};
  const auto data =
      build("text", "{files: ['../../lib/**/*.cpp'], exclude: ['**/generated/*'], held_out_fraction: 0}", site);
  EXPECT_EQ(data->training_tokens(), 20);
  const std::string absolute = (folder_ / "lib/**").string();
  EXPECT_EQ(build("text", "{files: ['" + absolute + "'], held_out_fraction: 0}", site)->training_tokens(), 30);
  EXPECT_EQ(build("text", "{files: ['../../lib/**'], exclude: ['" + absolute + "/b.cpp'], held_out_fraction: 0}", site)
                ->training_tokens(),
            20);
}

TEST_F(TextData, ErrorsNameFileAndRemedy) {
  folder_.make("train.txt", "some text that is long enough");
  folder_.make("empty.txt", "");
  folder_.make("latin1.txt", "caf\xE9 au lait");
  EXPECT_THAT(refusal("files: [tarin.txt]"), AllOf(HasSubstr("tarin.txt"), HasSubstr("did you mean")));
  EXPECT_THAT(refusal("files: ['*.md']"), AllOf(HasSubstr("*.md"), HasSubstr(folder_.path().string())));
  EXPECT_THAT(refusal("files: [.]"), HasSubstr("is a folder"));
  EXPECT_THAT(refusal("files: [train.txt, empty.txt]"), AllOf(HasSubstr("empty.txt"), HasSubstr("is empty")));
  EXPECT_THAT(refusal("{files: ['emp*.txt']}"), HasSubstr("found 0 bytes"));
  EXPECT_THAT(refusal("{files: ['*.txt'], exclude: ['*']}"), HasSubstr("at least one file"));
  EXPECT_THAT(refusal("{files: [train.txt], exclude: ['e*'], held_out_files: [empty.txt]}"), HasSubstr("exclude"));
  EXPECT_THAT(refusal("{files: [latin1.txt], tokens: characters}"),
              AllOf(HasSubstr("latin1.txt"), HasSubstr("byte 3"), HasSubstr("UTF-8")));
  EXPECT_THAT(message_of<DataError>([&] { text("files: [train.txt]")->training_batch(0, 2, 64); }),
              AllOf(HasSubstr("train.txt"), HasSubstr("at least 66")));
  EXPECT_THROW(text("{}"), ConfigError);
  EXPECT_THROW(text("files: []"), ConfigError);
  EXPECT_THROW(text("{files: [train.txt], order: shuffled}"), ConfigError);
  EXPECT_THROW(text("{files: [train.txt], held_out_fraction: 1}"), ConfigError);
}

TEST_F(TextData, SteadyStateTakesNoMemory) {
  folder_.make("a.txt", countable(4000));
  const auto data = text("{files: [a.txt], tokens: characters}");
  for (int step = 0; step < 2; ++step) data->training_batch(step, 8, 64);
  const std::int64_t before = memory_use().system_calls;
  for (int step = 2; step < 10; ++step) data->training_batch(step, 8, 64);
  EXPECT_EQ(memory_use().system_calls, before);
  const ShapeOnly guard;
  EXPECT_EQ(data->training_batch(0, 2, 64).tokens.shape(), (Shape{2, 64}));
}

TEST(ArithmeticText, IsTheOfficialDummyText) {
  const auto data = build("arithmetic_text", "{}", {"", 1});
  // Digits and ".+=".
  EXPECT_EQ(data->vocabulary(), 13);
  const auto sequential = build("arithmetic_text", "{order: sequential, tokens: bytes, held_out_fraction: 0}", {"", 1});
  EXPECT_EQ(row_text(sequential->training_batch(0, 1, 32).tokens, 0), ".0+0=0..1+1=2..2+4=6..3+9=12..4+");
  // The last sum: 99999 mod 10000 = 9999, its square ends in 0001.
  const auto tail = build("arithmetic_text", "{tokens: bytes, held_out_fraction: 0.5}", {"", 1});
  const Batch last = tail->held_out_batch(tail->held_out_batches(1, 64) - 1, 1, 64);
  EXPECT_TRUE(row_text(last.targets, 0).ends_with(".9999+1=10000.")) << row_text(last.targets, 0);
}

TEST(SharedText, TinyShakespeareSplitsAsUsual) {
  const fs::path folder = fs::path(RWKVLAB_REFERENCE_DIR) / "../data";
  if (!fs::exists(folder / "tinyshakespeare.txt")) GTEST_SKIP() << "no tinyshakespeare.txt in " << folder;
  const auto data = build("text", "{files: [tinyshakespeare.txt], tokens: characters}", {folder, 1});
  EXPECT_EQ(data->vocabulary(), 65);
  EXPECT_EQ(data->training_tokens(), 1003855);
  EXPECT_EQ(data->bytes_per_token(), 1.0);
}

}  // namespace
}  // namespace rwkvlab
