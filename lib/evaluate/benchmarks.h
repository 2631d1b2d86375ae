// Benchmarks that ask a model to go on: LAMBADA and multiple choice.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "evaluate/target_scores.h"

namespace rwkvlab {

/// What stands before every text, since the first token of all must be predicted from something.
enum class StartToken {
  newline,      ///< the tokens of "\n", as the official scripts of RWKV do it
  end_of_text,  ///< the tokenizer's end of text
  none
};

/// "newline", "end_of_text" or "none". Throws ConfigError naming the nearest for another word.
StartToken start_token_named(const std::string& word);

struct BenchmarkOptions {
  StartToken start = StartToken::newline;
  ScoringOptions scoring;
  std::int64_t limit = 0;  ///< at most so many documents; 0: all
};

struct LambadaResult {
  std::int64_t documents = 0;
  double accuracy = 0;        ///< share of documents all of whose last word's tokens have the largest logit
  double accuracy_error = 0;  ///< standard error of it
  double perplexity = 0;      ///< exp of the mean over documents of -log P(last word)
};

/// LAMBADA (Paperno et al., arXiv:1606.06031) as the authors of RWKV compute it: context = the text up to its last
/// space, target = that space and the last word, each encoded by itself, with the start token before them. `file`: JSON
/// lines with "text", plain or gzip. Throws DataError naming the line for a text of one word.
LambadaResult evaluate_lambada(const LanguageModel& model, const Tokenizer& tokenizer,
                               const std::filesystem::path& file, const BenchmarkOptions& options = {},
                               const EvaluationProgress& progress = {});

struct ChoiceResult {
  std::int64_t documents = 0;
  double accuracy = 0, accuracy_error = 0;  ///< the choice of highest log-probability is right
  /// The choice of highest log-probability per character (Unicode code point) of the choice is right.
  double accuracy_norm = 0, accuracy_norm_error = 0;
  /// The same per byte of the choice in UTF-8.
  double accuracy_bytes = 0, accuracy_bytes_error = 0;
};

/// One answered question, for whoever looks at single ones.
struct ChoiceDocument {
  std::vector<double> log_probabilities;  ///< of each choice, nats
  std::size_t gold = 0, chosen = 0, chosen_norm = 0, chosen_bytes = 0;
};

/// Multiple choice with the conventions of EleutherAI's evaluation harness. `file`: JSON lines with "context",
/// "choices" (two or more texts), "gold" (number of the right one, from 0) and optionally "delimiter" (default: a
/// space), which stands between context and choice but does not count in the length of the choice. Spaces at the end of
/// the context belong to the choice; tokens of a choice are those of the whole text behind those of the context. Of
/// equal choices the first one is chosen. Throws DataError naming the line for what is not like this.
ChoiceResult evaluate_choice(const LanguageModel& model, const Tokenizer& tokenizer, const std::filesystem::path& file,
                             const BenchmarkOptions& options = {}, const EvaluationProgress& progress = {},
                             std::vector<ChoiceDocument>* documents = nullptr);

}  // namespace rwkvlab
