// Tokenizers as JSON, and from files.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/gzip.h"
#include "base/sha256.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "tensor/safetensors.h"

namespace rwkvlab {
namespace {

constexpr std::size_t max_symbols = 65536;
constexpr std::size_t max_file_bytes = std::size_t{64} << 20;

[[noreturn]] void not_a_vocabulary(const std::string& file, const std::string& what) {
  throw DataError(fmt::format("'{}' is not a vocabulary: {}", file, what));
}

// The texts under "0", "1", ... of 'symbols'.
std::vector<std::string> symbols_of(const nlohmann::json& json, const std::string& file) {
  const auto symbols = json.find("symbols");
  if (symbols == json.end() || !symbols->is_object()) not_a_vocabulary(file, "expected an object 'symbols'");
  std::vector<std::string> result;
  for (std::size_t i = 0; i < symbols->size(); ++i) {
    const std::string key = std::to_string(i);
    const auto symbol = symbols->find(key);
    if (symbol == symbols->end() || !symbol->is_string()) {
      not_a_vocabulary(file, fmt::format("expected a text under '{}' of 'symbols'", key));
    }
    result.push_back(symbol->get<std::string>());
  }
  if (result.empty()) not_a_vocabulary(file, "'symbols' is empty");
  if (result.size() > max_symbols) not_a_vocabulary(file, "it has more than 65536 symbols");
  return result;
}

std::shared_ptr<const FileVocabulary> parse_vocabulary(std::string content, bool is_world, const std::string& file) {
  return is_world ? parse_world_vocabulary(std::move(content), file) : parse_neox_vocabulary(std::move(content), file);
}

// The file that json() keeps whole.
std::shared_ptr<const FileVocabulary> stored_vocabulary(const nlohmann::json& json, bool is_world,
                                                        const std::string& file) {
  const auto packed = json.find("gzip"), digest = json.find("sha256");
  if (packed == json.end() || !packed->is_string() || digest == json.end() || !digest->is_string()) {
    not_a_vocabulary(file, "expected texts 'gzip' and 'sha256'");
  }
  auto vocabulary =
      parse_vocabulary(gunzip(from_base64(packed->get<std::string>(), file), file, max_file_bytes), is_world, file);
  if (vocabulary->digest() != digest->get<std::string>()) {
    not_a_vocabulary(file, fmt::format("its content has the SHA-256 {}, expected {}", vocabulary->digest(),
                                       digest->get<std::string>()));
  }
  return vocabulary;
}

// Discarding the tree where it nests deeper than a vocabulary does keeps a hostile file from using the stack.
nlohmann::json parse_shallow(std::string_view text) {
  const auto is_shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) { return depth <= 3; };
  return nlohmann::json::parse(text, is_shallow, false);
}

// Checkpoints keep their tokenizer beside the weights, token files theirs beside the tokens.
Tokenizer tokenizer_beside_tensors(const std::string& name) {
  const SafetensorsFile file(name);
  for (const char* const key : {"tokenizer", "vocabulary"}) {  // a token file's "vocabulary" is its size
    const auto found = file.metadata().find(key);
    if (found != file.metadata().end())
      return Tokenizer::from_json(parse_shallow(found->second), fmt::format("{}: {}", name, key));
  }
  throw DataError(fmt::format("'{}' does not hold its tokenizer; name its vocabulary file", name));
}

}  // namespace

Tokenizer Tokenizer::from_json(const nlohmann::json& json, const std::string& file) {
  const auto kind = json.is_object() ? json.find("kind") : json.end();
  if (!json.is_object() || kind == json.end()) not_a_vocabulary(file, "expected an object with the key 'kind'");
  if (*kind == "bytes") return bytes();
  if (*kind == "words") {
    std::vector<std::string> found = symbols_of(json, file);
    const std::string problem = problem_of_words(found);
    if (!problem.empty()) not_a_vocabulary(file, problem);
    return words(std::move(found));
  }
  if (*kind == "world" || *kind == "neox") return of_file(stored_vocabulary(json, *kind == "world", file));
  if (*kind != "characters") {
    not_a_vocabulary(file,
                     "expected the kind 'bytes', 'characters', 'words', 'world' or 'neox', found " + kind->dump());
  }
  std::vector<char32_t> code_points;
  for (const std::string& text : symbols_of(json, file)) {
    std::size_t end = 0;
    const char32_t code_point = text.empty() ? invalid_code_point : next_code_point(text, end);
    const std::size_t i = code_points.size();
    if (code_point == invalid_code_point || end != text.size()) {
      not_a_vocabulary(file,
                       fmt::format("expected one character as symbol {}, found {}", i, nlohmann::json(text).dump()));
    }
    if (!code_points.empty() && code_points.back() >= code_point) {
      not_a_vocabulary(file, fmt::format("symbol {} does not come after symbol {} in code point order", i, i - 1));
    }
    code_points.push_back(code_point);
  }
  return characters(std::move(code_points));
}

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  const nlohmann::json json = parse_shallow(read_text(path));
  if (json.is_discarded()) not_a_vocabulary(path.string(), "it is not valid JSON");
  return from_json(json, path.string());
}

Tokenizer Tokenizer::open(const std::string& name) {
  if (name == "bytes") return bytes();
  if (tensor_file_format(name) == "safetensors") return tokenizer_beside_tensors(name);
  std::string content = read_unpacked(name, max_file_bytes);
  // World vocabularies begin with an id.
  const std::size_t first = content.find_first_not_of(" \t\r\n");
  if (first == std::string::npos || content[first] != '{')
    return of_file(parse_world_vocabulary(std::move(content), name));
  const nlohmann::json json = parse_shallow(content);
  if (json.is_object() && json.contains("kind")) return from_json(json, name);
  return of_file(parse_neox_vocabulary(std::move(content), name));
}

nlohmann::json Tokenizer::json() const {
  nlohmann::json json = {{"kind", kind()}};
  if (kind_ == Kind::bytes) return json;
  if (kind_ == Kind::file) {
    json["sha256"] = file_->digest();
    json["gzip"] = to_base64(gzip(file_->content()));
    return json;
  }
  nlohmann::json& symbols = json["symbols"] = nlohmann::json::object();
  for (std::size_t i = 0; i < words_.size(); ++i) symbols[std::to_string(i)] = words_[i];
  for (std::size_t i = 0; i < code_points_.size(); ++i) {
    std::string symbol;
    append_utf8(symbol, code_points_[i]);
    symbols[std::to_string(i)] = symbol;
  }
  return json;
}

std::string Tokenizer::digest() const { return kind_ == Kind::file ? file_->digest() : sha256(json().dump()); }

}  // namespace rwkvlab
