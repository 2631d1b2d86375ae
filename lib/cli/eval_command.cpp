// rwkvlab eval: what a trained model makes of a text, of LAMBADA and of multiple choice.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/output_path.h"
#include "cli/commands.h"
#include "data/token_file.h"
#include "evaluate/benchmarks.h"
#include "evaluate/evaluate_text.h"
#include "evaluate/evaluation_file.h"
#include "kernels/parallel.h"
#include "models/weight_format.h"
#include "run/load_model.h"
#include "run/run_folder.h"

namespace rwkvlab::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// What every evaluation is told.
struct EvalArguments {
  std::string model, tokenizer, format = "float32", name, record;
  std::vector<std::string> settings, files;
  std::int64_t limit = 0, tokens_per_batch = 0;
  int threads = 0;
  bool as_json = false, no_record = false;
  // text
  TextEvaluationOptions text;
  std::int64_t context = 0;
  // lambada and choice
  std::string start = "newline";
};

/// What an evaluation found.
struct Findings {
  std::string text;  ///< for people
  Json json;
  EvaluationRecord record;
};

/// A model that is ready to be asked.
class Evaluated {
 public:
  explicit Evaluated(const EvalArguments& arguments) : trained_(load(arguments)) {
    if (arguments.threads > 0) kernels::set_threads(arguments.threads);
    for (const std::string& note : trained_.notes) fmt::print(stderr, "note: {}\n", note);
    if (trained_.stored) scope_.emplace(*trained_.stored);
  }

  const TrainedModel& trained() const { return trained_; }
  const LanguageModel& model() const { return *trained_.model; }
  const Tokenizer& tokenizer() const { return trained_.tokenizer; }

 private:
  static TrainedModel load(const EvalArguments& arguments) {
    LoadModelOptions options;
    options.tokenizer = arguments.tokenizer;
    options.settings = arguments.settings;
    if (const WeightFormat format = weight_format_named(arguments.format); format != WeightFormat::float32)
      options.format = format;
    // Token files bring their own.
    options.needs_tokenizer = arguments.files.empty() || !is_token_file(arguments.files.front());
    return load_trained_model(arguments.model, options);
  }

  TrainedModel trained_;
  std::optional<StoredWeights::Scope> scope_;
};

/// A line on the terminal, a few times a second.
class ProgressLine {
 public:
  explicit ProgressLine(std::string unit) : unit_(std::move(unit)), is_terminal_(isatty(STDERR_FILENO) == 1) {}
  ~ProgressLine() {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  EvaluationProgress callback() {
    return [this](std::int64_t done, std::int64_t all) {
      const auto now = std::chrono::steady_clock::now();
      if (!is_terminal_ || now - last_ < std::chrono::milliseconds(300)) return;
      last_ = now;
      shown_ = true;
      fmt::print(stderr, "\r{} of {} {}", done, all, unit_);
    };
  }

 private:
  std::string unit_;
  bool is_terminal_, shown_ = false;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// The name of the results: what was asked for, or the file's without its endings.
std::string result_name(const EvalArguments& arguments) {
  if (!arguments.name.empty()) return arguments.name;
  const std::string file = fs::path(arguments.files.front()).filename().string();
  return file.substr(0, std::max<std::size_t>(1, file.find('.', 1)));
}

void add(Findings& findings, const std::string& name, const char* metric, const char* unit, const char* description,
         double value) {
  findings.record.metrics.push_back({name + "/" + metric, unit, description, value});
  findings.json[metric] = value;
}

// The tokens of token files must mean what they mean to the model, where that is known.
TokenText open_token_files(const std::vector<fs::path>& paths, const TrainedModel& trained) {
  TokenText text(paths);
  if (trained.has_tokenizer && !(*text.tokenizer() == trained.tokenizer)) {
    throw DataError(fmt::format(
        "{}: made with another tokenizer ({}, {} tokens) than that of the model ({}, {} tokens)", text.names(),
        text.tokenizer()->kind(), text.tokenizer()->size(), trained.tokenizer.kind(), trained.tokenizer.size()));
  }
  return text;
}

TokenText open_text(const EvalArguments& arguments, const TrainedModel& trained) {
  const std::vector<fs::path> paths(arguments.files.begin(), arguments.files.end());
  const auto token_files = std::count_if(paths.begin(), paths.end(), is_token_file);
  if (token_files == static_cast<std::ptrdiff_t>(paths.size())) return open_token_files(paths, trained);
  if (token_files > 0) {
    throw DataError(fmt::format("{} of the {} files {} tokens, the others text; evaluate them one after the other",
                                token_files, paths.size(), token_files == 1 ? "holds" : "hold"));
  }
  return {std::make_shared<const TextSource>(paths), std::make_shared<const Tokenizer>(trained.tokenizer)};
}

Findings eval_text(const EvalArguments& arguments, const Evaluated& evaluated) {
  TextEvaluationOptions options = arguments.text;
  options.limit = arguments.limit;
  options.tokens_per_batch = arguments.tokens_per_batch;
  const TrainedModel& trained = evaluated.trained();
  constexpr std::int64_t of_official_models = 1024;
  options.context = arguments.context > 0     ? arguments.context
                    : trained.version.empty() ? trained.loaded.experiment.train.context
                                              : of_official_models;
  const TokenText text = open_text(arguments, trained);
  ProgressLine progress("tokens");
  const TextEvaluation result = evaluate_text(evaluated.model(), text, options, progress.callback());

  const std::string name = result_name(arguments);
  Findings findings;
  findings.json = {{"tokens", result.tokens},
                   {"bytes", result.bytes},
                   {"context", options.context},
                   {"stride", options.carry_state || options.stride == 0 ? options.context : options.stride},
                   {"carry_state", options.carry_state},
                   {"tokenizer", text.tokenizer()->kind()}};
  add(findings, name, "loss", "nats per token", "Mean cross-entropy of the text.", result.loss);
  add(findings, name, "perplexity", "1", "exp of the mean cross-entropy per token.", result.perplexity());
  add(findings, name, "bits_per_token", "bits per token", "Mean cross-entropy of the text.", result.bits_per_token());
  if (result.bytes > 0) {
    add(findings, name, "bits_per_byte", "bits per byte", "Cross-entropy over the bytes of the text.",
        result.bits_per_byte());
  }
  add(findings, name, "accuracy", "1", "Share of tokens with the largest logit.", result.accuracy);
  findings.json["loss_by_position"] = result.loss_by_position;
  findings.record.curves.push_back(
      {name + "/loss_by_position", options.carry_state ? "window" : "position", "nats per token",
       options.carry_state ? "Mean cross-entropy of each window of the context's length, the state carried on."
                           : "Mean cross-entropy at each position of the context.",
       result.loss_by_position});
  const std::string bytes =
      result.bytes > 0 ? fmt::format("bits per byte   {:.5f}\n", result.bits_per_byte()) : std::string();
  findings.text = fmt::format(
      "text            {}, {} tokens scored of {} bytes\n"
      "context         {} tokens, {}\n"
      "loss            {:.5f} nats per token\n"
      "perplexity      {:.4f}\n"
      "{}accuracy        {:.4f}\n",
      text.names(), result.tokens, result.bytes, options.context,
      options.carry_state ? "state carried on" : fmt::format("a window every {}", findings.json["stride"].get<int>()),
      result.loss, result.perplexity(), bytes, result.accuracy);
  return findings;
}

BenchmarkOptions benchmark_options(const EvalArguments& arguments) {
  BenchmarkOptions options;
  options.start = start_token_named(arguments.start);
  options.limit = arguments.limit;
  options.scoring.tokens_per_batch = arguments.tokens_per_batch;
  return options;
}

Findings eval_lambada(const EvalArguments& arguments, const Evaluated& evaluated) {
  ProgressLine progress("documents");
  const LambadaResult result = evaluate_lambada(evaluated.model(), evaluated.tokenizer(), arguments.files.front(),
                                                benchmark_options(arguments), progress.callback());
  const std::string name = arguments.name.empty() ? "lambada" : arguments.name;
  Findings findings;
  findings.json = {{"documents", result.documents}, {"start", arguments.start}};
  add(findings, name, "accuracy", "1", "Share of passages whose last word is the most probable.", result.accuracy);
  add(findings, name, "accuracy_error", "1", "Standard error of the accuracy.", result.accuracy_error);
  add(findings, name, "perplexity", "1", "exp of the mean over passages of -log P(last word).", result.perplexity);
  findings.text = fmt::format("LAMBADA         {} passages\naccuracy        {:.4f} ± {:.4f}\nperplexity      {:.4f}\n",
                              result.documents, result.accuracy, result.accuracy_error, result.perplexity);
  return findings;
}

Findings eval_choice(const EvalArguments& arguments, const Evaluated& evaluated) {
  ProgressLine progress("choices");
  std::vector<ChoiceDocument> documents;
  const ChoiceResult result = evaluate_choice(evaluated.model(), evaluated.tokenizer(), arguments.files.front(),
                                              benchmark_options(arguments), progress.callback(), &documents);
  const std::string name = result_name(arguments);
  Findings findings;
  findings.json = {{"documents", result.documents}, {"start", arguments.start}};
  add(findings, name, "accuracy", "1", "Share of questions whose most probable choice is right.", result.accuracy);
  add(findings, name, "accuracy_error", "1", "Standard error of the accuracy.", result.accuracy_error);
  add(findings, name, "accuracy_norm", "1", "The same by log-probability per character of the choice.",
      result.accuracy_norm);
  add(findings, name, "accuracy_norm_error", "1", "Standard error of accuracy_norm.", result.accuracy_norm_error);
  add(findings, name, "accuracy_bytes", "1", "The same by log-probability per byte of the choice.",
      result.accuracy_bytes);
  add(findings, name, "accuracy_bytes_error", "1", "Standard error of accuracy_bytes.", result.accuracy_bytes_error);
  Json& list = findings.json["answers"] = Json::array();
  for (const ChoiceDocument& document : documents) {
    list.push_back({{"gold", document.gold},
                    {"chosen", document.chosen},
                    {"chosen_norm", document.chosen_norm},
                    {"chosen_bytes", document.chosen_bytes},
                    {"log_probabilities", document.log_probabilities}});
  }
  findings.text = fmt::format(
      "{:<15} {} questions\naccuracy        {:.4f} ± {:.4f}\naccuracy_norm   {:.4f} ± {:.4f}\n"
      "accuracy_bytes  {:.4f} ± {:.4f}\n",
      name, result.documents, result.accuracy, result.accuracy_error, result.accuracy_norm, result.accuracy_norm_error,
      result.accuracy_bytes, result.accuracy_bytes_error);
  return findings;
}

// Where the results go: what was named, or eval.h5 in the folder of the run.
std::optional<fs::path> record_path(const EvalArguments& arguments) {
  if (arguments.no_record) return std::nullopt;
  if (!arguments.record.empty()) return arguments.record;
  if (is_run_folder(arguments.model)) return fs::path(arguments.model) / "eval.h5";
  return std::nullopt;
}

using Evaluation = Findings (*)(const EvalArguments&, const Evaluated&);

int evaluate(const EvalArguments& arguments, Evaluation evaluation) {
  const std::optional<fs::path> record = record_path(arguments);
  if (record) check_output_path(*record);
  const Evaluated evaluated(arguments);
  const auto start = std::chrono::steady_clock::now();
  Findings findings = evaluation(arguments, evaluated);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (record) record_evaluation(*record, evaluated.trained(), findings.record);
  if (arguments.as_json) {
    Json json = {
        {"model", evaluated.trained().file.string()}, {"format", arguments.format}, {"files", arguments.files}};
    json.update(findings.json);
    json["seconds"] = seconds;
    if (record) json["recorded"] = record->string();
    fmt::print("{}\n", json.dump(2));
    return success;
  }
  fmt::print("{}", findings.text);
  if (record) fmt::print("recorded        {}\n", record->string());
  return success;
}

Command add_evaluation(const Command& eval, const std::shared_ptr<EvalArguments>& arguments, const char* name,
                       const char* doc, const char* file_doc, Evaluation evaluation) {
  const Command command = eval.command(name, doc);
  command.option("MODEL", arguments->model, "run folder, checkpoint, or official file of weights").required();
  const Argument files = command.option("FILE", arguments->files, file_doc).required();
  if (evaluation != eval_text) files.expected(1);
  command
      .option("--tokenizer", arguments->tokenizer,
              "vocabulary file of an official model, or the word bytes; default: what the checkpoint holds")
      .type_name("FILE");
  command.option("--set", arguments->settings, "change the model's description, as in `rwkvlab run`")
      .one_at_a_time()
      .type_name("KEY=VALUE");
  command
      .option("--format", arguments->format, "weights as " + fmt::format("{}", fmt::join(weight_format_names(), ", ")))
      .show_default()
      .type_name("FORMAT");
  command.option("--limit", arguments->limit, "at most so many tokens or documents").not_negative().type_name("N");
  command
      .option("--batch", arguments->tokens_per_batch,
              "tokens read in one pass; default: 4096, fewer for large vocabularies")
      .not_negative()
      .type_name("TOKENS");
  command.option("--threads", arguments->threads, "threads; default: the cores this process may use")
      .positive()
      .type_name("N");
  command.option("--name", arguments->name, "what the results are called; default: after the file").type_name("NAME");
  command.option("-o,--record", arguments->record, "run file for the results; default: eval.h5 in a run folder")
      .type_name("FILE");
  command.flag("--no-record", arguments->no_record, "leave no file");
  command.flag("--json", arguments->as_json, "print everything as JSON");
  command.action([arguments, evaluation] { return evaluate(*arguments, evaluation); });
  return command;
}

void add_start(const Command& command, EvalArguments& arguments) {
  command.option("--start", arguments.start, "what stands before every text: newline, end_of_text or none")
      .show_default()
      .type_name("TOKEN");
}

}  // namespace

void add_eval_command(const Command& program) {
  const Command eval = program.command("eval", "evaluate a trained model on text and benchmarks");
  eval.needs_command();
  auto text = std::make_shared<EvalArguments>();
  const Command text_command = add_evaluation(eval, text, "text", "perplexity and bits per byte",
                                              "text files, read as one text; or token files", eval_text);
  text_command.option("--context", text->context, "tokens read at a time; default: as in training, or 1024")
      .positive()
      .type_name("N");
  text_command.option("--stride", text->text.stride, "tokens from one window to the next; default: the context")
      .positive()
      .type_name("N");
  text_command.flag("--carry-state", text->text.carry_state, "go on from the state that the window before left");
  text_command
      .option("--streams", text->text.streams, "with --carry-state: parts of the text that are read side by side")
      .positive()
      .show_default()
      .type_name("N");
  auto lambada = std::make_shared<EvalArguments>();
  add_start(add_evaluation(eval, lambada, "lambada", "the last word of passages (LAMBADA)",
                           "JSON lines with \"text\", may be packed with gzip", eval_lambada),
            *lambada);
  auto choice = std::make_shared<EvalArguments>();
  add_start(
      add_evaluation(eval, choice, "choice", "multiple choice, as EleutherAI's harness scores it",
                     "JSON lines with \"context\", \"choices\" and \"gold\"; may be packed with gzip", eval_choice),
      *choice);
}

}  // namespace rwkvlab::cli
