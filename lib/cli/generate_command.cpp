// rwkvlab generate: text from a trained model, as it comes.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/output_path.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "data/streaming_decoder.h"
#include "kernels/parallel.h"
#include "kernels/row_product.h"
#include "kernels/spinning_team.h"
#include "models/generator.h"
#include "models/token_sampler.h"
#include "run/load_model.h"

namespace rwkvlab::cli {
namespace {

struct GenerateArguments {
  std::string model, tokenizer, state, save_state, format = "float32";
  std::vector<std::string> settings, prompts, prompt_files, stops;
  std::int64_t tokens = 256;
  std::int64_t batch = 1;
  SamplingParams sampling = {1.0, 0.85, 0};
  PenaltyParams penalties;
  std::uint64_t seed = 0;
  int threads = 0;
  bool quiet = false;
};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string standard_input() { return {std::istreambuf_iterator<char>(std::cin), {}}; }

/// What one sequence has said so far, without what follows a stop text.
class Saying {
 public:
  Saying(const Tokenizer& tokenizer, const std::vector<std::string>& stops) : decoder_(tokenizer), stops_(&stops) {}

  bool ended() const { return ended_; }

  /// The characters that may be shown now: all but what could be the beginning of a stop text.
  std::string push(std::int64_t token) { return ready(decoder_.push(token), false); }
  std::string finish() { return ended_ ? "" : ready(decoder_.finish(), true); }
  void end() { ended_ = true; }

 private:
  std::string ready(const std::string& more, bool all) {
    held_ += more;
    std::size_t stop = std::string::npos, keep = 0;
    for (const std::string& text : *stops_) {
      stop = std::min(stop, held_.find(text));
      for (std::size_t length = std::min(text.size() - 1, held_.size()); length > keep; --length) {
        if (held_.compare(held_.size() - length, length, text, 0, length) == 0) keep = length;
      }
    }
    ended_ = stop != std::string::npos;
    const std::size_t count = ended_ ? stop : all ? held_.size() : held_.size() - keep;
    std::string shown = held_.substr(0, count);
    held_.erase(0, count);
    return shown;
  }

  StreamingDecoder decoder_;
  const std::vector<std::string>* stops_;
  std::string held_;
  bool ended_ = false;
};

/// Prompts, their states, and the sequences that continue them.
class Generation {
 public:
  Generation(const GenerateArguments& arguments, const std::atomic<bool>& stop)
      : arguments_(arguments), stop_(&stop), trained_(load()) {
    for (const std::string& note : trained_.notes) fmt::print(stderr, "note: {}\n", note);
  }

  int run() {
    const std::vector<std::vector<std::int64_t>> prompts = read_prompts();
    const kernels::SpinningTeam team;
    const double start = now();
    std::vector<GenerationState> states;
    for (const auto& prompt : prompts) states.push_back(after(prompt));
    const double read = now();
    group(states);
    if (arguments_.tokens > 0) say_everything();
    if (!arguments_.save_state.empty()) save(states);
    summary(read - start, now() - read);
    return stop_->load() ? interrupted : success;
  }

 private:
  TrainedModel load() const {
    LoadModelOptions options;
    options.tokenizer = arguments_.tokenizer;
    options.settings = arguments_.settings;
    options.format = weight_format_named(arguments_.format);
    return load_trained_model(arguments_.model, options);
  }

  std::vector<std::vector<std::int64_t>> read_prompts() {
    std::vector<std::pair<std::string, std::string>> texts;
    for (const std::string& text : arguments_.prompts) texts.emplace_back(text, "--prompt");
    for (const std::string& file : arguments_.prompt_files) {
      if (file == "-") {
        texts.emplace_back(standard_input(), "standard input");
      } else {
        texts.emplace_back(read_text(file), file);
      }
    }
    if (texts.empty()) texts.emplace_back("", "--prompt");
    std::vector<std::vector<std::int64_t>> prompts;
    for (const auto& [text, source] : texts) {
      prompts.push_back(trained_.tokenizer.encode(text, source));
      if (prompts.back().empty() && arguments_.state.empty()) prompts.back().push_back(start_token());
      prompt_tokens_ += static_cast<std::int64_t>(prompts.back().size());
    }
    return prompts;
  }

  // Vocabularies of files have a token that stands before every document.
  std::int64_t start_token() const {
    if (const auto token = trained_.tokenizer.end_of_text()) return *token;
    throw DataError(
        fmt::format("the prompt is empty, and a tokenizer of kind '{}' has no token that begins a text: "
                    "give --prompt a text of one character at least, or --state",
                    trained_.tokenizer.kind()));
  }

  GenerationState after(const std::vector<std::int64_t>& prompt) {
    Generator generator(*trained_.model, trained_.stored.get());
    if (!arguments_.state.empty()) {
      generator.set_state(load_state(*trained_.model, trained_.fingerprint, arguments_.state));
      if (generator.sequences() != 1) {
        throw DataError(fmt::format("{}: a state of {} sequences, expected one, as --save-state writes it",
                                    arguments_.state, generator.sequences()));
      }
    }
    generator.read(prompt);
    return generator.state();
  }

  // Sequences in groups that are continued together: all, or those of one prompt where lengths cannot be mixed.
  void group(const std::vector<GenerationState>& states) {
    const bool together = Generator::mixes_lengths(*trained_.model);
    for (std::size_t i = 0; i < states.size(); i += together ? states.size() : 1) {
      generators_.emplace_back(*trained_.model, trained_.stored.get());
      const bool as_it_is = states.size() == 1 && arguments_.batch == 1;
      const std::span<const GenerationState> part = std::span(states).subspan(i, together ? states.size() : 1);
      generators_.back().set_state(as_it_is ? states[i] : stacked(part, arguments_.batch));
    }
    for (const Generator& generator : generators_) sequences_ += generator.sequences();
    const auto counted = [this](std::int64_t token) {
      const std::string text = trained_.tokenizer.decode(std::vector{token});
      return text.find_first_not_of(" \t0123456789") != std::string::npos;
    };
    for (std::int64_t s = 0; s < sequences_; ++s) {
      samplers_.emplace_back(arguments_.sampling, arguments_.penalties, arguments_.seed, s, counted);
      sayings_.emplace_back(trained_.tokenizer, arguments_.stops);
      positions_.push_back(states[static_cast<std::size_t>(s / arguments_.batch)].tokens);
    }
  }

  // One sequence is shown as it comes, several one after the other.
  void say_everything() {
    if (sequences_ == 1 && !arguments_.prompts.empty()) show(arguments_.prompts[0]);
    texts_.resize(static_cast<std::size_t>(sequences_));
    std::size_t first = 0;
    for (Generator& generator : generators_) {
      continue_sequences(generator, first);
      first += static_cast<std::size_t>(generator.sequences());
    }
    for (std::size_t s = 0; s < texts_.size(); ++s) {
      if (sequences_ > 1) show(fmt::format("{}--- {} ---\n", s == 0 ? "" : "\n", s + 1));
      show(texts_[s]);
    }
    if (isatty(STDOUT_FILENO) != 0) show("\n");
  }

  // Models may have room for more tokens than their tokenizer knows; those are never said.
  std::span<const float> known_logits(const Generator& generator, std::size_t sequence) const {
    const std::span<const float> all = generator.logits(static_cast<std::int64_t>(sequence));
    return all.first(std::min(all.size(), static_cast<std::size_t>(trained_.tokenizer.size())));
  }

  void continue_sequences(Generator& generator, std::size_t first) {
    const auto count = static_cast<std::size_t>(generator.sequences());
    std::vector<std::int64_t> tokens(count, 0);
    const auto ended = [&] {
      return std::all_of(sayings_.begin() + static_cast<std::ptrdiff_t>(first),
                         sayings_.begin() + static_cast<std::ptrdiff_t>(first + count),
                         [](const Saying& saying) { return saying.ended(); });
    };
    for (std::int64_t i = 0; i < arguments_.tokens && !stop_->load() && !reader_left_ && !ended(); ++i) {
      for (std::size_t s = 0; s < count; ++s) {
        Saying& saying = sayings_[first + s];
        if (saying.ended()) continue;
        tokens[s] = samplers_[first + s].draw(known_logits(generator, s), positions_[first + s]++);
        if (tokens[s] == trained_.tokenizer.end_of_text()) {
          saying.end();
        } else {
          tell(first + s, saying.push(tokens[s]));
          ++generated_;
        }
      }
      generator.step(tokens);
    }
    for (std::size_t s = first; s < first + count; ++s) tell(s, sayings_[s].finish());
  }

  void tell(std::size_t sequence, const std::string& text) {
    if (sequences_ == 1) return show(text);
    texts_[sequence] += text;
  }

  // A reader that goes away, as `head` does, has enough.
  void show(const std::string& text) {
    if (text.empty() || reader_left_) return;
    const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
    reader_left_ = !written;
  }

  // Without tokens to generate, the state after the prompt; else after what was generated.
  void save(const std::vector<GenerationState>& states) const {
    save_state(arguments_.tokens > 0 ? generators_.front().state() : states.front(), *trained_.model,
               trained_.fingerprint, arguments_.save_state);
  }

  void summary(double reading, double saying) const {
    if (arguments_.quiet) return;
    const auto rate = [](std::int64_t count, double seconds) {
      return seconds > 0 ? static_cast<double>(count) / seconds : 0.0;
    };
    // Beside a terminal the text may have ended anywhere in a line.
    if (generated_ > 0 && isatty(STDOUT_FILENO) == 0) fmt::print(stderr, "\n");
    fmt::print(stderr, "{}{} prompt tokens at {:.0f}/s, {} generated at {:.1f}/s, weights as {}, {} thread{}\n",
               stop_->load() ? "interrupted: " : "", prompt_tokens_, rate(prompt_tokens_, reading), generated_,
               rate(generated_, saying), arguments_.format, kernels::threads(), kernels::threads() == 1 ? "" : "s");
  }

  const GenerateArguments& arguments_;
  const std::atomic<bool>* stop_;
  TrainedModel trained_;
  std::vector<Generator> generators_;
  std::vector<TokenSampler> samplers_;
  std::vector<Saying> sayings_;
  std::vector<std::int64_t> positions_;  // tokens so far: the numbers of the draws
  std::vector<std::string> texts_;
  bool reader_left_ = false;
  std::int64_t sequences_ = 0, prompt_tokens_ = 0, generated_ = 0;
};

int generate(const GenerateArguments& arguments) {
  check_sampling(arguments.sampling, arguments.penalties);
  if (std::any_of(arguments.stops.begin(), arguments.stops.end(), [](const std::string& s) { return s.empty(); })) {
    throw ConfigError("--stop is empty; expected a text at which generation ends");
  }
  const std::size_t prompts = arguments.prompts.size() + arguments.prompt_files.size();
  if (!arguments.save_state.empty() && (prompts > 1 || arguments.batch > 1)) {
    throw ConfigError("--save-state keeps the state of one sequence: give one prompt and no --batch");
  }
  if (!arguments.save_state.empty()) check_output_path(arguments.save_state);
  if (arguments.threads > 0) kernels::set_threads(arguments.threads);
  return Generation(arguments, catch_interrupts()).run();
}

void add_sampling_options(const Command& command, GenerateArguments& a) {
  command.option("--temperature", a.sampling.temperature, "0: always a most probable token").show_default();
  command.option("--top-p", a.sampling.top_p, "probability to keep; the rest is never drawn").show_default();
  command.option("--top-k", a.sampling.top_k, "most probable tokens to keep; 0: all").show_default();
  command.option("--presence-penalty", a.penalties.presence, "taken from the logit of what was said before")
      .show_default();
  command.option("--frequency-penalty", a.penalties.frequency, "taken once per time that it was said").show_default();
  command.option("--penalty-decay", a.penalties.decay, "of these times, per token").show_default();
  command.option("--seed", a.seed, "of the draws: equal seeds say equal texts, with any number of threads")
      .show_default();
}

}  // namespace

void add_generate_command(const Command& program) {
  auto arguments = std::make_shared<GenerateArguments>();
  GenerateArguments& a = *arguments;
  const Command command = program.command("generate", "continue a text with a trained model");
  command.option("MODEL,--model", a.model, "run folder, checkpoint, or official file of weights").required();
  command.option("--prompt", a.prompts, "text to continue; may be repeated").one_at_a_time();
  command.option("--prompt-file", a.prompt_files, "file to continue, - for standard input; may be repeated")
      .one_at_a_time()
      .type_name("FILE");
  command.option("--tokens", a.tokens, "most tokens to generate; 0: read the prompt only")
      .not_negative()
      .show_default();
  command.option("--stop", a.stops, "text at which to end, which is not shown; may be repeated").one_at_a_time();
  add_sampling_options(command, a);
  command.option("--batch", a.batch, "continuations of each prompt, generated together")
      .between(1, 4096)
      .show_default();
  command.option("--format", a.format, "weights: float32, bfloat16 or int8")
      .one_of(weight_format_names())
      .show_default();
  command.option("--state", a.state, "go on from the state that --save-state wrote").type_name("FILE");
  command.option("--save-state", a.save_state, "write the state at the end, so that a prompt is read once")
      .type_name("FILE");
  command.option("--tokenizer", a.tokenizer, "vocabulary file, or bytes; default: the model's own").type_name("FILE");
  command.option("--set", a.settings, "change a value of the model's description: path.to.key=value")
      .one_at_a_time()
      .type_name("KEY=VALUE");
  command.option("--threads", a.threads, "threads; default: all cores that the process may use").positive();
  command.flag("--quiet", a.quiet, "no line about the speed on standard error");
  command.action([arguments] { return generate(*arguments); });
}

}  // namespace rwkvlab::cli
