// The data sets `text` and `tokens`: files that the experiment file names.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/error.h"
#include "config/registry.h"
#include "data/text_data_set.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

struct TextParams {
  std::vector<std::string> files;
  std::vector<std::string> exclude;
  std::vector<std::string> held_out_files;
  std::optional<double> held_out_fraction;
  std::string tokens = "bytes";
  std::optional<std::string> vocabulary;
  std::string order = "random_offsets";
};

struct TokenParams {
  std::vector<std::string> files;
  std::vector<std::string> exclude;
  std::vector<std::string> held_out_files;
  std::optional<double> held_out_fraction;
  std::string order = "random_offsets";
};

template <class Params>
void describe_files(Fields<Params>& f) {
  f.required("files", &Params::files, "files or patterns of the training text").not_empty().path();
  f.add("exclude", &Params::exclude, "patterns of files to leave out, from the same folder").path(false);
  f.add("held_out_files", &Params::held_out_files,
        "files or patterns of the held-out text; they are never trained on, even when `files` names them")
      .path();
  f.add("held_out_fraction", &Params::held_out_fraction,
        "share of the tokens that is held out, from the end of the text; 0.1 unless there are held_out_files",
        between(0, 0.9));
  f.check(
      [](const Params& p) {
        return p.held_out_fraction && !p.held_out_files.empty()
                   ? std::string("give either held_out_fraction or held_out_files, not both")
                   : std::string();
      },
      "held_out_fraction");
}

void describe_text(Fields<TextParams>& f) {
  f.doc(
      "Text from files, one after the other in the order of the list (patterns: sorted by name). Names and patterns "
      "(`*`, `?`, and `**` for any folders) start at the folder of the experiment file.");
  describe_files(f);
  describe_reading(f);
}

void describe_tokens(Fields<TokenParams>& f) {
  f.doc(
      "Token files that `rwkvlab tokenize` made, one after the other; they stay on the disk, so they may be larger "
      "than "
      "the memory, and bring their tokenizer along. Names and patterns start at the folder of the experiment file.");
  describe_files(f);
  describe_order(f);
}

// The path as a pattern sees it: without the folder that both start at.
std::string seen_from(const fs::path& folder, const fs::path& path) {
  const std::string whole = path.string();
  const std::string prefix = folder.empty() ? "" : (folder / "").string();
  return whole.starts_with(prefix) ? whole.substr(prefix.size()) : whole;
}

bool is_excluded(const fs::path& path, const std::vector<std::string>& patterns, const fs::path& folder) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return matches_glob(
        pattern.starts_with('/') ? fs::absolute(path).lexically_normal().string() : seen_from(folder, path), pattern);
  });
}

std::vector<fs::path> chosen(const std::vector<std::string>& patterns, const std::vector<std::string>& exclude,
                             const fs::path& folder) {
  std::vector<fs::path> paths = expand_globs(patterns, folder);
  std::erase_if(paths, [&](const fs::path& path) { return is_excluded(path, exclude, folder); });
  return paths;
}

// Empty files that a pattern found are harmless; an empty file that was named is a mistake.
std::shared_ptr<const TextSource> open_text(const std::vector<fs::path>& paths,
                                            const std::vector<std::string>& patterns, const fs::path& folder) {
  auto source = std::make_shared<const TextSource>(paths);
  for (const TextSource::Piece& piece : source->pieces()) {
    if (!piece.bytes.empty()) continue;
    for (const std::string& pattern : patterns) {
      if (folder / pattern == fs::path(piece.name)) {
        throw DataError(fmt::format("'{}' is empty, expected text", piece.name));
      }
    }
  }
  if (source->size() == 0) throw DataError(fmt::format("{}: expected text, found 0 bytes", source->names()));
  return source;
}

// The files of the two texts; without held_out_files, `held_out` is empty.
struct Files {
  std::vector<fs::path> training, held_out;
};

template <class Params>
Files choose_files(const Params& p, const fs::path& folder) {
  Files files;
  files.training = chosen(p.files, p.exclude, folder);
  if (!p.held_out_files.empty()) {
    files.held_out = chosen(p.held_out_files, p.exclude, folder);
    if (files.held_out.empty()) throw DataError("data.exclude leaves none of data.held_out_files");
    std::set<fs::path> apart;
    for (const fs::path& path : files.held_out) apart.insert(fs::weakly_canonical(path));
    std::erase_if(files.training, [&](const fs::path& path) { return apart.contains(fs::weakly_canonical(path)); });
  }
  if (files.training.empty()) {
    throw DataError("data.exclude and data.held_out_files leave none of data.files, expected at least one file");
  }
  return files;
}

template <class Params>
TextDataSetParts common_parts(const char* kind, const Params& p, const DataSite& site) {
  TextDataSetParts parts;
  parts.kind = kind;
  parts.order = p.order;
  parts.seed = site.seed;
  if (p.held_out_files.empty()) parts.held_out_fraction = p.held_out_fraction.value_or(0.1);
  return parts;
}

std::unique_ptr<DataSet> make_text(const TextParams& p, const DataSite& site) {
  TextDataSetParts parts = common_parts("text", p, site);
  const Files files = choose_files(p, site.folder);
  const auto text = open_text(files.training, p.files, site.folder);
  std::shared_ptr<const TextSource> apart;
  if (!files.held_out.empty()) apart = open_text(files.held_out, p.held_out_files, site.folder);
  const auto tokenizer = make_tokenizer({p.tokens, p.vocabulary}, *text, site.folder);
  parts.text = TokenText(text, tokenizer);
  if (apart != nullptr) parts.apart = TokenText(apart, tokenizer);
  return std::make_unique<TextDataSet>(std::move(parts));
}

std::unique_ptr<DataSet> make_tokens(const TokenParams& p, const DataSite& site) {
  TextDataSetParts parts = common_parts("tokens", p, site);
  const Files files = choose_files(p, site.folder);
  parts.text = TokenText(files.training);
  if (!files.held_out.empty()) {
    parts.apart = TokenText(files.held_out);
    if (*parts.apart->tokenizer() != *parts.text.tokenizer()) {
      throw DataError(
          fmt::format("{} and {} were made with different tokenizers", parts.text.names(), parts.apart->names()));
    }
  }
  return std::make_unique<TextDataSet>(std::move(parts));
}

const RegisterKind<DataSet, TextParams, DataSite> registered_text(data_slot, "text", describe_text, make_text);
const RegisterKind<DataSet, TokenParams, DataSite> registered_tokens(data_slot, "tokens", describe_tokens, make_tokens);

}  // namespace
}  // namespace rwkvlab
