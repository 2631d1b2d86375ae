#include "evaluate/benchmarks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/gzip.h"
#include "base/nearest.h"

namespace rwkvlab {
namespace {

using Json = nlohmann::json;

// Calls `use(json, place)` for every line that is not empty, at most `limit` times (0: no limit). JSON that lacks
// what `use` asks for is a DataError of its line.
template <class Use>
void for_each_document(const std::filesystem::path& file, std::int64_t limit, Use&& use) {
  LineReader reader(file);
  std::int64_t count = 0;
  for (std::string line; (limit == 0 || count < limit) && reader.next(line);) {
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    const std::string place = fmt::format("'{}', line {}", file.string(), reader.number());
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) throw DataError(place + ": expected a JSON object");
    try {
      use(json, place);
    } catch (const Json::exception& error) {
      throw DataError(fmt::format("{}: {}", place, error.what()));
    }
    ++count;
  }
  if (count == 0) throw DataError(fmt::format("'{}' has no lines, expected a JSON object in each", file.string()));
}

const std::string& required_text(const Json& json, const char* key, const std::string& place) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_string()) throw DataError(fmt::format("{}: expected a text '{}'", place, key));
  return found->get_ref<const std::string&>();
}

std::vector<std::int64_t> start_tokens(StartToken start, const Tokenizer& tokenizer) {
  if (start == StartToken::none) return {};
  if (start == StartToken::newline) return tokenizer.encode("\n", "the newline before every text");
  if (const auto token = tokenizer.end_of_text()) return {*token};
  throw ConfigError(
      fmt::format("a {} tokenizer has no end of text to start from; expected newline or none", tokenizer.kind()));
}

ScoringOptions scoring_for(const LanguageModel& model, const BenchmarkOptions& options) {
  ScoringOptions scoring = options.scoring;
  if (scoring.longest == 0) scoring.longest = longest_input(model);
  return scoring;
}

// Standard error of a share, from the variance of a sample.
double standard_error(double share, std::int64_t count) {
  return count < 2 ? 0 : std::sqrt(share * (1 - share) / static_cast<double>(count - 1));
}

struct Question {
  std::vector<double> characters, bytes;  // of each choice
  std::size_t gold = 0, first_item = 0;
};

// Unicode code points: the bytes that continue none. The text is valid, since JSON is.
std::ptrdiff_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

// The tokens of a choice, given those of what stands before it.
Continuation encode_choice(const Tokenizer& tokenizer, const std::vector<std::int64_t>& start, std::string context,
                           std::string choice, const std::string& place) {
  const std::size_t end = context.find_last_not_of(" \t\n\v\f\r");
  const std::size_t kept = end == std::string::npos ? 0 : end + 1;
  choice.insert(0, context, kept, std::string::npos);
  context.resize(kept);
  const std::vector<std::int64_t> before = tokenizer.encode(context, place),
                                  whole = tokenizer.encode(context + choice, place);
  Continuation item;
  item.context = start;
  const auto border = whole.begin() + static_cast<std::ptrdiff_t>(std::min(before.size(), whole.size()));
  item.context.insert(item.context.end(), whole.begin(), border);
  item.target.assign(border, whole.end());
  if (item.target.empty()) {
    throw DataError(
        fmt::format("{}: the tokenizer joins the choice '{}' with what stands before it, which leaves no token to "
                    "score; let the context end where a word does",
                    place, choice));
  }
  return item;
}

Question read_question(const Json& json, const std::string& place, const Tokenizer& tokenizer,
                       const std::vector<std::int64_t>& start, std::vector<Continuation>& items) {
  const std::string& context = required_text(json, "context", place);
  const auto choices = json.find("choices"), gold = json.find("gold");
  if (choices == json.end() || !choices->is_array() || choices->size() < 2) {
    throw DataError(place + ": expected a list 'choices' of at least two texts");
  }
  if (gold == json.end() || !gold->is_number_unsigned() || gold->get<std::size_t>() >= choices->size()) {
    throw DataError(
        fmt::format("{}: expected 'gold', the number of the right choice, from 0 to {}", place, choices->size() - 1));
  }
  const std::string delimiter = json.value("delimiter", " ");
  Question question;
  question.gold = gold->get<std::size_t>();
  question.first_item = items.size();
  for (const Json& choice : *choices) {
    const std::string text = choice.is_string() ? choice.get<std::string>() : "";
    if (text.empty())
      throw DataError(fmt::format("{}: a choice is {}, expected a text that is not empty", place, choice.dump()));
    question.characters.push_back(static_cast<double>(count_characters(text)));
    question.bytes.push_back(static_cast<double>(text.size()));
    items.push_back(encode_choice(tokenizer, start, context, delimiter + text, place));
    if (items.back().context.empty()) throw DataError(place + ": nothing stands before the choice; use a start token");
  }
  return question;
}

// The place of the largest log P / length, the first of equal ones.
std::size_t best_choice(const std::vector<double>& log_probabilities, const std::vector<double>& lengths) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < lengths.size(); ++i) {
    if (log_probabilities[i] / lengths[i] > log_probabilities[best] / lengths[best]) best = i;
  }
  return best;
}

ChoiceDocument answer(const Question& question, std::span<const ContinuationScore> scores) {
  ChoiceDocument document;
  document.gold = question.gold;
  const std::size_t choices = question.bytes.size();
  for (const ContinuationScore& score : scores.subspan(question.first_item, choices))
    document.log_probabilities.push_back(score.log_probability);
  document.chosen = best_choice(document.log_probabilities, std::vector<double>(choices, 1));
  document.chosen_norm = best_choice(document.log_probabilities, question.characters);
  document.chosen_bytes = best_choice(document.log_probabilities, question.bytes);
  return document;
}

}  // namespace

StartToken start_token_named(const std::string& word) {
  if (word == "newline") return StartToken::newline;
  if (word == "end_of_text") return StartToken::end_of_text;
  if (word == "none") return StartToken::none;
  const std::vector<std::string> names = {"newline", "end_of_text", "none"};
  throw ConfigError(
      fmt::format("'{}' is no start token{}; expected newline, end_of_text or none", word, did_you_mean(word, names)));
}

LambadaResult evaluate_lambada(const LanguageModel& model, const Tokenizer& tokenizer,
                               const std::filesystem::path& file, const BenchmarkOptions& options,
                               const EvaluationProgress& progress) {
  const std::vector<std::int64_t> start = start_tokens(options.start, tokenizer);
  std::vector<Continuation> items;
  for_each_document(file, options.limit, [&](const Json& json, const std::string& place) {
    const std::string& text = required_text(json, "text", place);
    const std::size_t space = text.rfind(' ');
    if (space == std::string::npos || space + 1 == text.size()) {
      throw DataError(place + ": expected a text that ends in a space and a word");
    }
    Continuation item;
    item.context = start;
    const std::vector<std::int64_t> context = tokenizer.encode(std::string_view(text).substr(0, space), place);
    item.context.insert(item.context.end(), context.begin(), context.end());
    item.target = tokenizer.encode(std::string_view(text).substr(space), place);
    items.push_back(std::move(item));
  });
  const std::vector<ContinuationScore> scores =
      score_continuations(model, items, scoring_for(model, options), progress);
  LambadaResult result;
  result.documents = static_cast<std::int64_t>(scores.size());
  double sum = 0, right = 0;
  for (const ContinuationScore& score : scores) {
    sum += score.log_probability;
    right += score.is_greedy ? 1 : 0;
  }
  const auto count = static_cast<double>(scores.size());
  result.perplexity = std::exp(-sum / count);
  result.accuracy = right / count;
  result.accuracy_error = standard_error(result.accuracy, result.documents);
  return result;
}

ChoiceResult evaluate_choice(const LanguageModel& model, const Tokenizer& tokenizer, const std::filesystem::path& file,
                             const BenchmarkOptions& options, const EvaluationProgress& progress,
                             std::vector<ChoiceDocument>* documents) {
  const std::vector<std::int64_t> start = start_tokens(options.start, tokenizer);
  std::vector<Continuation> items;
  std::vector<Question> questions;
  for_each_document(file, options.limit, [&](const Json& json, const std::string& place) {
    questions.push_back(read_question(json, place, tokenizer, start, items));
  });
  const std::vector<ContinuationScore> scores =
      score_continuations(model, items, scoring_for(model, options), progress);
  ChoiceResult result;
  result.documents = static_cast<std::int64_t>(questions.size());
  std::int64_t right = 0, right_norm = 0, right_bytes = 0;
  for (const Question& question : questions) {
    ChoiceDocument document = answer(question, scores);
    right += document.chosen == document.gold ? 1 : 0;
    right_norm += document.chosen_norm == document.gold ? 1 : 0;
    right_bytes += document.chosen_bytes == document.gold ? 1 : 0;
    if (documents != nullptr) documents->push_back(std::move(document));
  }
  const auto set = [&](double& accuracy, double& error, std::int64_t count) {
    accuracy = static_cast<double>(count) / static_cast<double>(questions.size());
    error = standard_error(accuracy, result.documents);
  };
  set(result.accuracy, result.accuracy_error, right);
  set(result.accuracy_norm, result.accuracy_norm_error, right_norm);
  set(result.accuracy_bytes, result.accuracy_bytes_error, right_bytes);
  return result;
}

}  // namespace rwkvlab
