// rwkvlab tokenize: text files into a token file.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "data/tokenize_files.h"
#include "train/checkpoint.h"

namespace rwkvlab::cli {
namespace {

struct TokenizeArguments {
  std::string tokenizer;
  std::vector<std::string> files;
  TokenizeOptions options;
  bool no_end_of_text = false, as_json = false;
};

int tokenize(TokenizeArguments& arguments) {
  TokenizeOptions& options = arguments.options;
  options.files.assign(arguments.files.begin(), arguments.files.end());
  options.end_of_text = !arguments.no_end_of_text;
  const bool is_run = std::filesystem::is_directory(arguments.tokenizer);
  const Tokenizer tokenizer =
      Tokenizer::open(is_run ? weights_file(arguments.tokenizer).string() : arguments.tokenizer);
  const bool is_terminal = isatty(STDERR_FILENO) == 1;
  std::uint64_t told = 0;
  const TokenizeReport report = tokenize_files(options, tokenizer, [&](std::uint64_t bytes) {
    if (!is_terminal || bytes - told < (std::uint64_t{64} << 20)) return;
    told = bytes;
    fmt::print(stderr, "\r{} MB of text", bytes / 1000000);
  });
  if (told > 0) fmt::print(stderr, "\r\033[K");
  const double bytes_per_token = static_cast<double>(report.bytes) / static_cast<double>(report.tokens);
  const double speed =
      report.encoding_seconds > 0 ? static_cast<double>(report.bytes) / 1e6 / report.encoding_seconds : 0;
  if (arguments.as_json) {
    const nlohmann::ordered_json json = {{"file", options.output.string()},
                                         {"tokenizer", tokenizer.kind()},
                                         {"tokenizer_sha256", tokenizer.digest()},
                                         {"vocabulary", tokenizer.size()},
                                         {"documents", report.documents},
                                         {"tokens", report.tokens},
                                         {"bytes", report.bytes},
                                         {"bytes_per_token", bytes_per_token},
                                         {"megabytes_per_second", speed}};
    fmt::print("{}\n", json.dump(2));
    return success;
  }
  fmt::print(
      "{}: {} tokens of {} ({} bytes in {} document{}, {:.3f} bytes per token), encoded at {:.1f} MB/s of processor "
      "time\n",
      options.output.string(), report.tokens, tokenizer.kind(), report.bytes, report.documents,
      report.documents == 1 ? "" : "s", bytes_per_token, speed);
  return success;
}

}  // namespace

void add_tokenize_command(const Command& program) {
  auto arguments = std::make_shared<TokenizeArguments>();
  const Command command =
      program.command("tokenize", "text into a token file, to train on text larger than the memory");
  command
      .option("FILE", arguments->files,
              "text; or .jsonl, .jsonl.gz: JSON lines, each a document. Files may be packed with gzip")
      .required();
  command.option("-o,--output", arguments->options.output, "token file to write").required().type_name("FILE");
  command
      .option("--tokenizer", arguments->tokenizer,
              "World vocabulary, tokenizer.json of GPT-NeoX, a run or checkpoint of this program, or the word bytes")
      .required()
      .type_name("FILE");
  command.option("--field", arguments->options.field, "where the text of a JSON line stands")
      .show_default()
      .type_name("NAME");
  command.flag("--no-end-of-text", arguments->no_end_of_text, "no end of text behind each document");
  command.flag("--json", arguments->as_json, "print the counts as JSON");
  command.action([arguments] { return tokenize(*arguments); });
}

}  // namespace rwkvlab::cli
