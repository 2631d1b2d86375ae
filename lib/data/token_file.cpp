#include "data/token_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tensor/safetensors.h"

namespace rwkvlab {
namespace {

static_assert(std::endian::native == std::endian::little,
              "token files are read and written in the machine's byte order");

constexpr std::string_view format_name = "rwkvlab-tokens/1";
constexpr std::size_t gather_bytes = std::size_t{1} << 20;

[[noreturn]] void refuse(const std::filesystem::path& path, std::string_view what) {
  throw DataError(fmt::format("'{}' is no token file: {}; `rwkvlab tokenize` writes them", path.string(), what));
}

std::int64_t number(const SafetensorsFile& file, const std::string& key) {
  const std::string& text = file.metadata(key);
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    refuse(file.path(), fmt::format("its '{}' is '{}', expected a number", key, text));
  }
  return value;
}

// A file that ends before its format could be named: the length of a header, of which no byte above the fifth is in
// use (no text has such zeros), and the first letters of what the writer puts there.
bool is_cut_in_its_header(std::string_view file) {
  constexpr std::size_t used = 5, length = 8;
  const std::string start = fmt::format(R"({{"__metadata__":{{"format":"{}")", format_name);
  return file.size() > used && file.size() < length + start.size() &&
         file.substr(used, length - used).find_first_not_of('\0') == std::string_view::npos &&
         (file.size() <= length || start.starts_with(file.substr(length)));
}

template <class Id>
void widen(const std::byte* from, std::span<std::int64_t> into) {
  for (std::size_t i = 0; i < into.size(); ++i) {
    Id id;
    std::memcpy(&id, from + i * sizeof(Id), sizeof(Id));
    into[i] = id;
  }
}

}  // namespace

TokenFileWriter::TokenFileWriter(const std::filesystem::path& path, const Tokenizer& tokenizer)
    : path_(path),
      file_(path),
      tokenizer_(tokenizer.json().dump()),
      digest_(tokenizer.digest()),
      vocabulary_(tokenizer.size()),
      token_bytes_(tokenizer.size() <= 65536 ? 2 : 4) {
  // Room for the largest numbers; the true ones are known at the end.
  constexpr std::uint64_t most = 999'999'999'999'999'999;
  const std::string room = header(most / 16, most / 16, most);
  header_bytes_ = (room.size() + 7) / 8 * 8;
  file_.write(std::string(8 + header_bytes_, ' '));
}

std::string TokenFileWriter::header(std::uint64_t tokens, std::uint64_t documents, std::uint64_t source_bytes) const {
  const std::uint64_t middle = tokens * token_bytes_, end = middle + documents * 8;
  nlohmann::ordered_json json;
  json["__metadata__"] = {{"format", format_name},
                          {"source_bytes", std::to_string(source_bytes)},
                          {"vocabulary", std::to_string(vocabulary_)},
                          {"tokenizer_sha256", digest_},
                          {"tokenizer", tokenizer_}};
  json["tokens"] = {{"dtype", token_bytes_ == 2 ? "U16" : "U32"},
                    {"shape", nlohmann::ordered_json::array({tokens})},
                    {"data_offsets", {0, middle}}};
  json["documents"] = {
      {"dtype", "I64"}, {"shape", nlohmann::ordered_json::array({documents})}, {"data_offsets", {middle, end}}};
  return json.dump();
}

void TokenFileWriter::begin_document() { documents_.push_back(static_cast<std::int64_t>(tokens_)); }

void TokenFileWriter::write(std::span<const std::int64_t> tokens) {
  for (const std::int64_t token : tokens) {
    check_invariant(token >= 0 && token < vocabulary_, "a token outside its vocabulary");
    char bytes[sizeof token];
    std::memcpy(bytes, &token, sizeof token);
    pending_.append(bytes, token_bytes_);
  }
  tokens_ += tokens.size();
  if (pending_.size() < gather_bytes) return;
  file_.write(pending_);
  pending_.clear();
}

void TokenFileWriter::finish() {
  if (tokens_ == 0)
    throw DataError(fmt::format("'{}': there is no text, so there are no tokens to write", path_.string()));
  file_.write(pending_);
  file_.write(std::as_bytes(std::span(documents_)));
  std::string text = header(tokens_, documents_.size(), source_bytes_);
  check_invariant(text.size() <= header_bytes_, "the header of a token file has no room");
  text.resize(header_bytes_, ' ');
  const std::uint64_t length = header_bytes_;
  file_.overwrite(0, {reinterpret_cast<const char*>(&length), sizeof length});
  file_.overwrite(sizeof length, text);
  file_.commit();
}

TokenFile::TokenFile(const std::filesystem::path& path) : file_(path) {
  const SafetensorsFile header(path);
  const auto format = header.metadata().find("format");
  if (format == header.metadata().end() || format->second != format_name) {
    refuse(path, fmt::format("its format is '{}', expected '{}'",
                             format == header.metadata().end() ? "" : format->second, format_name));
  }
  const TensorEntry& tokens = header.entry("tokens");
  const TensorEntry& documents = header.entry("documents");
  is_wide_ = tokens.stored_type == "U32";
  if ((!is_wide_ && tokens.stored_type != "U16") || tokens.shape.rank() != 1) {
    refuse(path, "its 'tokens' are no list of U16 or U32");
  }
  if (documents.stored_type != "I64" || documents.shape.rank() != 1) refuse(path, "its 'documents' are no list of I64");
  begin_ = tokens.begin;
  size_ = tokens.shape.elements();
  if (size_ == 0) refuse(path, "it has no tokens");
  source_bytes_ = number(header, "source_bytes");
  vocabulary_ = number(header, "vocabulary");
  digest_ = header.metadata("tokenizer_sha256");
}

void TokenFile::read(std::int64_t begin, std::span<std::int64_t> into) const {
  check_invariant(begin >= 0 && into.size() <= static_cast<std::size_t>(size_) &&
                      static_cast<std::size_t>(begin) <= static_cast<std::size_t>(size_) - into.size(),
                  "tokens outside a token file were asked for");
  const std::byte* const from = file_.bytes().data() + begin_ + static_cast<std::size_t>(begin) * (is_wide_ ? 4 : 2);
  if (is_wide_) {
    widen<std::uint32_t>(from, into);
  } else {
    widen<std::uint16_t>(from, into);
  }
  const auto outside =
      std::find_if(into.begin(), into.end(), [this](std::int64_t token) { return token >= vocabulary_; });
  if (outside == into.end()) return;
  throw DataError(fmt::format("'{}': token {} is {}, expected less than the {} of its vocabulary; the file is damaged",
                              path().string(), begin + (outside - into.begin()), *outside, vocabulary_));
}

std::vector<std::int64_t> TokenFile::documents() const {
  const Tensor places = SafetensorsFile(path()).tensor("documents");
  const auto span = places.span<std::int64_t>();
  for (std::size_t i = 0; i < span.size(); ++i) {
    if (span[i] < 0 || span[i] > size_ || (i > 0 && span[i] < span[i - 1])) {
      refuse(path(), fmt::format("document {} begins at token {}", i, span[i]));
    }
  }
  return {span.begin(), span.end()};
}

Tokenizer TokenFile::tokenizer() const {
  const SafetensorsFile header(path());
  const auto json = nlohmann::json::parse(header.metadata("tokenizer"), nullptr, false);
  if (json.is_discarded()) refuse(path(), "its tokenizer is no JSON");
  Tokenizer tokenizer = Tokenizer::from_json(json, path().string());
  if (tokenizer.size() != vocabulary_ || tokenizer.digest() != digest_) {
    refuse(path(), "its tokenizer is not the one that its header names");
  }
  return tokenizer;
}

bool is_token_file(const std::filesystem::path& path) {
  try {
    const MappedFile file(path);
    return file.text().substr(0, 256).find(format_name) != std::string_view::npos || is_cut_in_its_header(file.text());
  } catch (const DataError&) {
    return false;
  }
}

}  // namespace rwkvlab
