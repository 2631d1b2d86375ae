#include "data/tokenize_files.h"

#include <fmt/format.h>
#include <time.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/gzip.h"
#include "data/token_file.h"

namespace rwkvlab {
namespace {

namespace fs = std::filesystem;
// Encoded at a time.
constexpr std::size_t part_bytes = std::size_t{4} << 20;
constexpr std::size_t largest_packed = std::size_t{4} << 30;

// Processor time of this thread: what other programs take does not count.
double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

class Run {
 public:
  Run(const TokenizeOptions& options, const Tokenizer& tokenizer, const std::function<void(std::uint64_t)>& progress)
      : options_(options), tokenizer_(tokenizer), progress_(progress), writer_(options.output, tokenizer) {}

  TokenizeReport all() {
    for (const fs::path& file : options_.files) {
      const std::string name = file.filename().string();
      if (name.ends_with(".jsonl") || name.ends_with(".jsonl.gz")) {
        add_lines(file);
      } else if (name.ends_with(".gz")) {
        add_document(read_unpacked(file, largest_packed), fmt::format("'{}'", file.string()));
      } else {
        add_document(MappedFile(file).text(), fmt::format("'{}'", file.string()));
      }
    }
    report_.tokens = writer_.tokens();
    report_.documents = writer_.documents();
    report_.bytes = writer_.source_bytes();
    writer_.finish();
    return report_;
  }

 private:
  void add_lines(const fs::path& file) {
    LineReader reader(file);
    for (std::string line; reader.next(line);) {
      if (line.empty()) continue;
      const std::string place = fmt::format("'{}', line {}", file.string(), reader.number());
      const auto json = nlohmann::json::parse(line, nullptr, false);
      const auto found = json.is_object() ? json.find(options_.field) : json.end();
      if (!json.is_object() || found == json.end() || !found->is_string()) {
        throw DataError(fmt::format("{}: expected a JSON object with a text '{}'", place, options_.field));
      }
      add_document(found->get_ref<const std::string&>(), place);
    }
  }

  void add_document(std::string_view text, const std::string& place) {
    writer_.begin_document();
    for (std::size_t begin = 0; begin < text.size();) {
      tokens_.clear();
      const double start = processor_seconds();
      const std::size_t end = tokenizer_.encode_part(text, begin, begin + part_bytes, place, tokens_);
      report_.encoding_seconds += processor_seconds() - start;
      writer_.add_source_bytes(end - begin);
      writer_.write(tokens_);
      begin = end;
      if (progress_) progress_(writer_.source_bytes());
    }
    const auto end_of_text = tokenizer_.end_of_text();
    if (options_.end_of_text && end_of_text) writer_.write({&*end_of_text, 1});
  }

  const TokenizeOptions& options_;
  const Tokenizer& tokenizer_;
  const std::function<void(std::uint64_t)>& progress_;
  TokenFileWriter writer_;
  TokenizeReport report_;
  std::vector<std::int64_t> tokens_;
};

}  // namespace

TokenizeReport tokenize_files(const TokenizeOptions& options, const Tokenizer& tokenizer,
                              const std::function<void(std::uint64_t)>& progress) {
  return Run(options, tokenizer, progress).all();
}

}  // namespace rwkvlab
