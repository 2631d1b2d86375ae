// Evaluations against what the logits of one sequence at a time say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/error.h"
#include "base/gzip.h"
#include "config/resolve.h"
#include "config/yaml_reader.h"
#include "config/yaml_writer.h"
#include "evaluate/benchmarks.h"
#include "evaluate/evaluate_text.h"
#include "evaluate/evaluation_file.h"
#include "record/run_file_reader.h"
#include "tests/data/small_vocabularies.h"
#include "tests/models/params_of.h"
#include "tests/support/tensors.h"
#include "tests/temporary_folder.h"
#include "train/checkpoint.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using Tokens = std::vector<std::int64_t>;

// Sums of float32 logarithms over a few dozen tokens, computed with other batches.
constexpr double tolerance = 2e-5;

std::unique_ptr<LanguageModel> disturbed_model(const std::string& yaml) {
  auto model = make_language_model(test::params_of("{" + yaml + "}"));
  model->allocate(7);
  for (const Parameter* const p : model->parameters()) {
    const Tensor noise = test::normal_tensor(p->shape, p->name, 0.3);
    const std::vector<double> initial = p->var.value().to_doubles();
    for (std::size_t i = 0; i < initial.size(); ++i) noise.data<double>()[i] += initial[i];
    p->var.value().copy_from(noise.to(DType::f32));
  }
  return model;
}

std::unique_ptr<LanguageModel> byte_model() {
  return disturbed_model("layers: 2, width: 8, vocabulary_size: 256, time_mix: {kind: rwkv4}");
}

// -log P of each token but the first, and whether it has the largest logit, from one pass over one sequence.
std::vector<TargetScore> scores_of(const LanguageModel& model, const Tokens& tokens) {
  const Tensor inputs = Tensor::empty({1, static_cast<std::int64_t>(tokens.size()) - 1}, DType::i64);
  std::copy(tokens.begin(), tokens.end() - 1, inputs.data<std::int64_t>());
  const std::vector<double> logits = model.logits(inputs, {}).value().to_doubles();
  std::vector<TargetScore> scores;
  for (std::size_t t = 1; t < tokens.size(); ++t) {
    const double* const row = logits.data() + (t - 1) * 256;
    double sum = 0;
    for (int i = 0; i < 256; ++i) sum += std::exp(row[i]);
    const auto target = static_cast<std::size_t>(tokens[t]);
    scores.push_back({std::log(sum) - row[target], std::max_element(row, row + 256) - row == tokens[t]});
  }
  return scores;
}

Tokens bytes_of(const std::string& text) { return Tokenizer::bytes().encode(text); }

TokenText byte_text(const std::string& text) {
  return {std::make_shared<const TextSource>("made", text), std::make_shared<const Tokenizer>(Tokenizer::bytes())};
}

const std::string sample = "The quick brown fox jumps over the lazy dog; 0123456789 times, or é more.";

double sum_of_nats(const std::vector<TargetScore>& scores, std::size_t from = 0) {
  double nats = 0;
  for (std::size_t i = from; i < scores.size(); ++i) nats += scores[i].nats;
  return nats;
}

TEST(EvaluateText, WindowsThatDoNotOverlap) {
  const auto model = byte_model();
  const Tokens all = bytes_of(sample);
  double nats = 0;
  std::int64_t right = 0;
  std::vector<double> by_position(10), counts(10);
  for (std::size_t begin = 0; begin + 1 < all.size(); begin += 10) {
    const std::size_t end = std::min(begin + 11, all.size());
    const auto scores = scores_of(*model, Tokens(all.begin() + static_cast<std::ptrdiff_t>(begin),
                                                 all.begin() + static_cast<std::ptrdiff_t>(end)));
    nats += sum_of_nats(scores);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      right += scores[i].is_first ? 1 : 0;
      by_position[i] += scores[i].nats;
      counts[i] += 1;
    }
  }
  for (const std::int64_t batch : {1, 25, 4096}) {
    TextEvaluationOptions options;
    options.context = 10;
    options.tokens_per_batch = batch;
    const TextEvaluation result = evaluate_text(*model, byte_text(sample), options);
    const auto count = static_cast<double>(all.size() - 1);
    EXPECT_EQ(result.tokens, static_cast<std::int64_t>(all.size()) - 1);
    EXPECT_EQ(result.bytes, result.tokens);
    EXPECT_NEAR(result.loss, nats / count, tolerance);
    EXPECT_NEAR(result.accuracy, static_cast<double>(right) / count, 1e-12);
    EXPECT_NEAR(result.bits_per_byte(), result.loss / std::numbers::ln2, 1e-12);
    EXPECT_NEAR(result.perplexity(), std::exp(result.loss), 1e-12);
    ASSERT_EQ(result.loss_by_position.size(), 10u);
    for (std::size_t i = 0; i < 10; ++i) EXPECT_NEAR(result.loss_by_position[i], by_position[i] / counts[i], tolerance);
  }
}

TEST(EvaluateText, SlidingWindowsScoreEveryTokenOnce) {
  const auto model = byte_model();
  const Tokens all = bytes_of(sample);
  for (const std::int64_t stride : {1, 3, 7, 12}) {
    // Token t is scored in the first window that reaches it.
    double nats = 0;
    for (std::int64_t t = 1; t < static_cast<std::int64_t>(all.size()); ++t) {
      const std::int64_t begin = t <= 12 ? 0 : (t - 12 + stride - 1) / stride * stride;
      nats += scores_of(*model, Tokens(all.begin() + begin, all.begin() + t + 1)).back().nats;
    }
    TextEvaluationOptions options;
    options.context = 12;
    options.stride = stride;
    const TextEvaluation result = evaluate_text(*model, byte_text(sample), options);
    EXPECT_EQ(result.tokens, static_cast<std::int64_t>(all.size()) - 1) << stride;
    EXPECT_NEAR(result.loss, nats / static_cast<double>(result.tokens), tolerance) << stride;
  }
}

TEST(EvaluateText, ACarriedStateIsOneLongPass) {
  const auto model = byte_model();
  const auto whole = scores_of(*model, bytes_of(sample));
  TextEvaluationOptions options;
  options.context = 16;
  options.carry_state = true;
  const TextEvaluation result = evaluate_text(*model, byte_text(sample), options);
  EXPECT_EQ(result.tokens, static_cast<std::int64_t>(whole.size()));
  EXPECT_NEAR(result.loss, sum_of_nats(whole) / static_cast<double>(whole.size()), tolerance);
  ASSERT_EQ(result.loss_by_position.size(), (whole.size() + 15) / 16);
  EXPECT_NEAR(result.loss_by_position[0], (sum_of_nats(whole) - sum_of_nats(whole, 16)) / 16, tolerance);

  // Three streams: three texts that each begin anew.
  options.streams = 3;
  const std::size_t part = whole.size() / 3;
  double nats = 0;
  for (std::size_t stream = 0; stream < 3; ++stream) {
    nats += sum_of_nats(scores_of(*model, bytes_of(sample.substr(stream * part, part + 1))));
  }
  const TextEvaluation streams = evaluate_text(*model, byte_text(sample), options);
  EXPECT_EQ(streams.tokens, static_cast<std::int64_t>(3 * part));
  EXPECT_NEAR(streams.loss, nats / static_cast<double>(3 * part), tolerance);
}

TEST(EvaluateText, RefusesWhatCannotBe) {
  const auto model = byte_model();
  const auto refusal = [&](const TextEvaluationOptions& options, const LanguageModel& of) {
    return message_of<ConfigError>([&] { evaluate_text(of, byte_text(sample), options); });
  };
  TextEvaluationOptions options;
  options.context = 8;
  options.stride = 9;
  EXPECT_THAT(refusal(options, *model), HasSubstr("a stride of 9"));
  options.stride = 4;
  options.carry_state = true;
  EXPECT_THAT(refusal(options, *model), HasSubstr("leave the stride out"));
  options.stride = 0;
  const auto attention =
      disturbed_model("layers: 1, width: 8, vocabulary_size: 256, time_mix: {kind: attention, head_size: 4}");
  EXPECT_THAT(refusal(options, *attention), HasSubstr("grows with every token"));
  options.carry_state = false;
  const auto learned = disturbed_model(
      "layers: 1, width: 8, vocabulary_size: 256, time_mix: {kind: rwkv4}, positions: learned, max_length: 6");
  EXPECT_THAT(refusal(options, *learned), HasSubstr("positions for 6"));
  EXPECT_THROW(evaluate_text(*model, byte_text("x"), {}), DataError);
  const auto small = disturbed_model("layers: 1, width: 8, vocabulary_size: 100, time_mix: {kind: rwkv4}");
  EXPECT_THAT(message_of<DataError>([&] { evaluate_text(*small, byte_text(sample), {}); }),
              AllOf(HasSubstr("outside the 100 of the model"), HasSubstr("tokenizer")));
}

class Benchmarks : public testing::Test {
 protected:
  double log_probability(const std::string& context, const std::string& target) const {
    const auto scores = scores_of(*model_, bytes_of(context + target));
    return -sum_of_nats(scores, scores.size() - target.size());
  }
  TemporaryFolder folder_;
  std::unique_ptr<LanguageModel> model_ = byte_model();
  Tokenizer bytes_ = Tokenizer::bytes();
};

TEST_F(Benchmarks, LambadaAsTheOfficialScript) {
  const std::vector<std::pair<std::string, std::string>> passages = {
      {"He gave the book to", " Mary"},
      {"a", " b"},
      {"One more passage, somewhat longer than the others, is", " here"}};
  std::string lines;
  double sum = 0, right = 0;
  for (const auto& [context, target] : passages) {
    lines += nlohmann::json{{"text", context + target}}.dump() + "\n\n";
    sum += log_probability("\n" + context, target);
    const auto scores = scores_of(*model_, bytes_of("\n" + context + target));
    right += std::all_of(scores.end() - static_cast<std::ptrdiff_t>(target.size()), scores.end(),
                         [](const TargetScore& score) { return score.is_first; });
  }
  const fs::path file = folder_.make("lambada.jsonl.gz", gzip(lines));
  for (const std::int64_t batch : {1, 4096}) {
    BenchmarkOptions options;
    options.scoring.tokens_per_batch = batch;
    const LambadaResult result = evaluate_lambada(*model_, bytes_, file, options);
    EXPECT_EQ(result.documents, 3);
    EXPECT_NEAR(std::log(result.perplexity), -sum / 3, tolerance);
    EXPECT_EQ(result.accuracy, right / 3);
  }
  BenchmarkOptions options;
  options.limit = 1;
  EXPECT_NEAR(std::log(evaluate_lambada(*model_, bytes_, file, options).perplexity),
              -log_probability("\nHe gave the book to", " Mary"), tolerance);
  options.start = StartToken::none;
  EXPECT_NEAR(std::log(evaluate_lambada(*model_, bytes_, file, options).perplexity),
              -log_probability("He gave the book to", " Mary"), tolerance);
  options.start = StartToken::end_of_text;
  EXPECT_THAT(message_of<ConfigError>([&] { evaluate_lambada(*model_, bytes_, file, options); }),
              HasSubstr("no end of text"));
}

TEST_F(Benchmarks, GreedyMeansEveryTokenOfTheTarget) {
  // What the model itself would say next, and the same with another last token.
  Continuation likely, unlikely;
  likely.context = bytes_of("abc");
  Tokens all = likely.context;
  for (int i = 0; i < 3; ++i) {
    const auto logits = model_->logits(Tensor::from<std::int64_t>({1, static_cast<std::int64_t>(all.size())}, all), {})
                            .value()
                            .to_doubles();
    all.push_back(std::max_element(logits.end() - 256, logits.end()) - (logits.end() - 256));
  }
  likely.target.assign(all.end() - 3, all.end());
  unlikely = likely;
  unlikely.target[1] = (unlikely.target[1] + 1) % 256;
  const Continuation nothing{{1}, {}};
  const auto scores = score_continuations(*model_, std::vector<Continuation>{unlikely, likely, nothing});
  EXPECT_FALSE(scores[0].is_greedy);
  EXPECT_TRUE(scores[1].is_greedy);
  EXPECT_EQ(scores[2].log_probability, 0);
  EXPECT_GT(scores[1].log_probability, scores[0].log_probability);
  EXPECT_THROW(score_continuations(*model_, std::vector<Continuation>{{{}, {1}}}), DataError);
  EXPECT_THROW(score_continuations(*model_, std::vector<Continuation>{{{1}, {256}}}), DataError);
  // Contexts are cut at their beginning.
  ScoringOptions options;
  options.longest = 4;
  const auto cut =
      score_continuations(*model_, std::vector<Continuation>{{bytes_of("abcdef"), bytes_of("gh")}}, options);
  EXPECT_NEAR(cut[0].log_probability, log_probability("def", "gh"), tolerance);
  options.longest = 1;
  EXPECT_THROW(score_continuations(*model_, std::vector<Continuation>{{{1}, {1, 2, 3}}}, options), DataError);
}

TEST_F(Benchmarks, ChoiceAsTheHarness) {
  const fs::path file =
      folder_.make("choice.jsonl",
                   R"({"context": "Q: which?\nA:", "choices": ["a short one", "b", "something longer, é"], "gold": 2})"
                   "\n"
                   R"({"context": "no more ", "choices": ["x", "yy"], "gold": 0, "delimiter": ""})"
                   "\n"
                   R"({"context": "few:", "choices": ["ab", "éééééé"], "gold": 0})"
                   "\n");
  std::vector<ChoiceDocument> documents;
  const ChoiceResult result = evaluate_choice(*model_, bytes_, file, {}, {}, &documents);
  ASSERT_EQ(documents.size(), 3u);
  const std::vector<std::vector<double>> expected = {
      {log_probability("\nQ: which?\nA:", " a short one"), log_probability("\nQ: which?\nA:", " b"),
       log_probability("\nQ: which?\nA:", " something longer, é")},
      {log_probability("\nno more", " x"), log_probability("\nno more", " yy")},
      {log_probability("\nfew:", " ab"), log_probability("\nfew:", " éééééé")}};
  const std::vector<std::vector<double>> ones = {{1, 1, 1}, {1, 1}, {1, 1}};
  const std::vector<std::vector<double>> characters = {{11, 1, 19}, {1, 2}, {2, 6}};
  const std::vector<std::vector<double>> bytes = {{11, 1, 20}, {1, 2}, {2, 12}};
  double right = 0, right_norm = 0, right_bytes = 0;
  for (std::size_t d = 0; d < 3; ++d) {
    const auto best = [&](const std::vector<double>& lengths) {
      std::size_t first = 0;
      for (std::size_t i = 0; i < lengths.size(); ++i) {
        if (expected[d][i] / lengths[i] > expected[d][first] / lengths[first]) first = i;
      }
      return first;
    };
    for (std::size_t i = 0; i < expected[d].size(); ++i)
      EXPECT_NEAR(documents[d].log_probabilities[i], expected[d][i], 2 * tolerance);
    EXPECT_EQ(documents[d].chosen, best(ones[d]));
    EXPECT_EQ(documents[d].chosen_norm, best(characters[d]));
    EXPECT_EQ(documents[d].chosen_bytes, best(bytes[d]));
    right += best(ones[d]) == documents[d].gold;
    right_norm += best(characters[d]) == documents[d].gold;
    right_bytes += best(bytes[d]) == documents[d].gold;
  }
  // A short choice is more probable as a whole, a long one per character; letters of two bytes are long in bytes.
  EXPECT_NE(documents[0].chosen, documents[0].chosen_norm);
  EXPECT_NE(documents[2].chosen_norm, documents[2].chosen_bytes);
  EXPECT_EQ(result.accuracy, right / 3);
  EXPECT_EQ(result.accuracy_norm, right_norm / 3);
  EXPECT_EQ(result.accuracy_bytes, right_bytes / 3);
  EXPECT_NEAR(result.accuracy_error, std::sqrt(result.accuracy * (1 - result.accuracy) / 2), 1e-12);
}

TEST_F(Benchmarks, ErrorsNameTheLine) {
  const auto refusal = [&](const std::string& line, bool choice) {
    const fs::path file =
        folder_.make("a.jsonl", R"({"text": "one two", "context": "c", "choices": ["a", "b"], "gold": 1})"
                                "\n" +
                                    line + "\n");
    return message_of<DataError>(
        [&] { choice ? void(evaluate_choice(*model_, bytes_, file)) : void(evaluate_lambada(*model_, bytes_, file)); });
  };
  EXPECT_THAT(refusal("{", false), AllOf(HasSubstr("a.jsonl', line 2"), HasSubstr("JSON object")));
  EXPECT_THAT(refusal(R"({"txt": "a b"})", false), HasSubstr("a text 'text'"));
  EXPECT_THAT(refusal(R"({"text": "word"})", false), HasSubstr("ends in a space and a word"));
  EXPECT_THAT(refusal(R"({"text": "word "})", false), HasSubstr("ends in a space and a word"));
  EXPECT_THAT(refusal(R"({"context": "c", "choices": ["a"], "gold": 0})", true), HasSubstr("at least two"));
  EXPECT_THAT(refusal(R"({"context": "c", "choices": ["a", "b"], "gold": 2})", true), HasSubstr("from 0 to 1"));
  EXPECT_THAT(refusal(R"({"context": "c", "choices": ["a", ""], "gold": 0})", true), HasSubstr("empty"));
  EXPECT_THAT(refusal(R"({"context": "c", "choices": ["a", 3], "gold": 0})", true), HasSubstr("line 2"));
  EXPECT_THAT(refusal(R"({"choices": ["a", "b"], "gold": 0})", true), HasSubstr("'context'"));
  EXPECT_THROW(evaluate_lambada(*model_, bytes_, folder_.make("empty.jsonl", "")), DataError);
  // "ab" "c" are two tokens and "abcd" is one: without tokens, the choice would be certain.
  const Tokenizer world = Tokenizer::open(folder_.make("world.txt", small_world()));
  const auto wide = disturbed_model("layers: 1, width: 8, vocabulary_size: 264, time_mix: {kind: rwkv4}");
  const fs::path joined =
      folder_.make("joined.jsonl", R"({"context": "abc", "choices": ["e", "d"], "gold": 0, "delimiter": ""})");
  EXPECT_THAT(message_of<DataError>([&] { evaluate_choice(*wide, world, joined); }),
              AllOf(HasSubstr("line 1"), HasSubstr("joins the choice 'd'")));
  EXPECT_THAT(message_of<ConfigError>([] { start_token_named("newlin"); }), HasSubstr("'newline'"));
}

class EvaluationFile : public testing::Test {
 protected:
  TrainedModel trained(const std::string& step = "12") const {
    const std::string text =
        "name: small\nmodel: {kind: language_model, layers: 1, width: 8, vocabulary_size: 256, time_mix: {kind: "
        "rwkv4}}\n"
        "data: {kind: arithmetic_text, tokens: bytes}\n";
    const Node tree = resolve(parse_yaml(text, "small.yaml"), experiment_schema());
    save_weights(*make_weights(), folder_ / "model.safetensors",
                 {{"format", "rwkvlab-checkpoint/1"},
                  {"config", to_yaml(tree)},
                  {"step", step},
                  {"vocabulary", R"({"kind": "bytes"})"}});
    return load_trained_model(folder_ / "model.safetensors");
  }
  static std::unique_ptr<LanguageModel> make_weights() {
    return disturbed_model("layers: 1, width: 8, vocabulary_size: 256, time_mix: {kind: rwkv4}");
  }
  TemporaryFolder folder_;
};

TEST_F(EvaluationFile, GathersResults) {
  const TrainedModel model = trained();
  EXPECT_EQ(trained_step(model.file), 12);
  const fs::path path = folder_ / "eval.h5";
  record_evaluation(path, model, {{{"lambada/accuracy", "1", "Share.", 0.25}}, {}});
  record_evaluation(path, model,
                    {{{"a/loss", "nats per token", "Loss.", 2.5}},
                     {{"a/loss_by_position", "position", "nats per token", "Loss.", {3, 2}}}});
  record_evaluation(path, model, {{{"lambada/accuracy", "1", "Share.", 0.5}}, {}});
  const RunFileReader reader(path);
  EXPECT_EQ(reader.status(), RunStatus::done);
  EXPECT_EQ(reader.config(), model.loaded.text());
  const ScalarSeries accuracy = reader.scalars("metrics/eval/lambada/accuracy");
  EXPECT_THAT(accuracy.values, ElementsAre(0.5));
  EXPECT_THAT(accuracy.steps, ElementsAre(12));
  EXPECT_THAT(reader.scalars("metrics/eval/a/loss").values, ElementsAre(2.5));
  EXPECT_THAT(reader.tensor("probes/eval/a/loss_by_position").values, ElementsAre(3, 2));
  EXPECT_THAT(message_of<DataError>([&] { record_evaluation(path, trained("13"), {}); }),
              HasSubstr("other training steps"));
  EXPECT_THROW(record_evaluation(folder_.make("x.h5", "text"), model, {}), DataError);
}

}  // namespace
}  // namespace rwkvlab
