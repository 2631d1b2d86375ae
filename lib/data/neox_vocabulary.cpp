#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/error.h"
#include "data/byte_pair_merges.h"
#include "data/byte_trie.h"
#include "data/file_vocabulary.h"
#include "data/utf8.h"
#include "data/word_pattern.h"

namespace rwkvlab {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t most_tokens = 1 << 20;

// GPT-2 writes a byte as a character: itself where it is printable, otherwise one from U+0100 on.
std::array<char32_t, 256> byte_characters() {
  std::array<char32_t, 256> characters;
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool is_printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    characters[byte] = is_printable ? byte : next++;
  }
  return characters;
}

// Tokens that are cut out of a text before anything else is done with it.
class AddedTokens {
 public:
  void add(const std::string& text, std::int32_t id) { texts_.emplace_back(text, id); }

  // Texts that appear twice must have been refused.
  void finish() {
    std::vector<std::pair<std::string_view, std::int32_t>> strings(texts_.begin(), texts_.end());
    for (const auto& [text, id] : texts_) begins_[static_cast<unsigned char>(text.front())] = true;
    trie_ = ByteTrie(std::move(strings));
  }

  // Calls `between` with what lies between them and `token` with each, the leftmost and longest, in order.
  template <class Between, class Token>
  void cut(std::string_view text, Between&& between, Token&& token) const {
    std::size_t begin = 0;
    for (std::size_t place = 0; place < text.size();) {
      const ByteTrie::Match match =
          begins_[static_cast<unsigned char>(text[place])] ? trie_.longest(text, place) : ByteTrie::Match();
      if (match.value < 0) {
        ++place;
        continue;
      }
      if (place > begin) between(text.substr(begin, place - begin));
      token(match.value);
      begin = place = match.end;
    }
    if (begin < text.size()) between(text.substr(begin));
  }

 private:
  std::vector<std::pair<std::string, std::int32_t>> texts_;
  std::array<bool, 256> begins_{};
  ByteTrie trie_;
};

class NeoxVocabulary final : public FileVocabulary {
 public:
  NeoxVocabulary(std::string content, const std::string& file) : FileVocabulary(std::move(content)), file_(file) {
    const auto is_shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= 16; };
    const Json json = Json::parse(this->content(), is_shallow, false);
    if (json.is_discarded() || !json.is_object()) refuse("it is not valid JSON");
    try {
      check_pipeline(json);
      read_vocabulary(json.at("model").at("vocab"));
      read_merges(json.at("model").at("merges"));
      read_added_tokens(json.value("added_tokens", Json::array()));
    } catch (const Json::exception& error) {
      refuse(error.what());
    }
  }

  std::string_view kind() const override { return "neox"; }

  std::size_t encode(std::string_view text, std::size_t begin, std::size_t limit, const std::string& source,
                     std::vector<std::int64_t>& tokens) const override {
    const std::size_t end = border(text, std::max(limit, begin + 1));
    check_utf8(text, begin, end, source);
    const auto keep = [&tokens](std::int32_t token) { tokens.push_back(token); };
    // Words are remembered from text to text; a second thread that encodes at the same time remembers its own.
    Words own;
    const std::unique_lock lock(words_lock_, std::try_to_lock);
    Words& words = lock.owns_lock() ? words_ : own;
    const auto encode_plain = [&](std::string_view plain) {
      const std::string normal = normal_form_c(plain);
      after_normalising_.cut(
          normal, [&](std::string_view rest) { encode_words(rest, words, tokens); }, keep);
    };
    verbatim_.cut(text.substr(begin, end - begin), encode_plain, keep);
    return end;
  }

 private:
  // Words that came before, with their tokens.
  struct WordHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view word) const { return std::hash<std::string_view>()(word); }
  };
  using Words = std::unordered_map<std::string, std::vector<std::int32_t>, WordHash, std::equal_to<>>;
  static constexpr std::size_t most_words = 1 << 17, longest_word = 64;

  [[noreturn]] void refuse(const std::string& what) const {
    throw DataError(fmt::format("'{}' is no tokenizer.json of the GPT-NeoX kind: {}", file_, what));
  }

  // Only what this program does; a tokenizer that asks for more would be read wrongly.
  void check_pipeline(const Json& json) const {
    const auto type_of = [&json](const char* step) {
      const auto found = json.find(step);
      return found == json.end() || found->is_null() ? std::string("none") : found->value("type", "?");
    };
    const auto expect = [&](const char* step, const char* wanted) {
      if (type_of(step) != wanted) refuse(fmt::format("its {} is {}, expected {}", step, type_of(step), wanted));
    };
    expect("model", "BPE");
    expect("normalizer", "NFC");
    expect("pre_tokenizer", "ByteLevel");
    const Json& words = json.at("pre_tokenizer");
    if (words.value("add_prefix_space", true)) refuse("add_prefix_space is set, expected false");
    if (!words.value("use_regex", true)) refuse("use_regex is off, expected true");
    const Json& model = json.at("model");
    for (const char* const option : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                                     "byte_fallback", "ignore_merges"}) {
      const auto found = model.find(option);
      const bool is_off = found == model.end() || found->is_null() || *found == false || *found == Json("");
      if (!is_off) {
        refuse(fmt::format("model.{} is {}, expected none", option, found->dump()));
      }
    }
  }

  void set(std::int64_t id, const std::string& text, const std::string& shown) {
    if (id < 0 || id >= most_tokens)
      refuse(fmt::format("the id of '{}' is {}, expected 0 to {}", shown, id, most_tokens - 1));
    if (text.empty()) refuse(fmt::format("the token {} is empty", id));
    const auto place = static_cast<std::size_t>(id);
    if (place >= texts_.size()) texts_.resize(place + 1);
    if (!texts_[place].empty() && texts_[place] != text) refuse(fmt::format("two tokens have the id {}", id));
    texts_[place] = text;
  }

  // Bytes of a token that is written in GPT-2's characters, or nothing when it is not.
  std::string unwritten(const std::string& written) const {
    static const std::unordered_map<char32_t, char> bytes = [] {
      std::unordered_map<char32_t, char> map;
      const auto characters = byte_characters();
      for (std::size_t byte = 0; byte < 256; ++byte) map.emplace(characters[byte], static_cast<char>(byte));
      return map;
    }();
    std::string text;
    for (std::size_t place = 0; place < written.size();) {
      const char32_t character = next_code_point(written, place);
      const auto found = bytes.find(character);
      if (character == invalid_code_point || found == bytes.end()) return "";
      text += found->second;
    }
    return text;
  }

  void read_vocabulary(const Json& vocabulary) {
    if (!vocabulary.is_object() || vocabulary.empty()) refuse("model.vocab is no object with tokens");
    for (const auto& [written, id] : vocabulary.items()) {
      const std::string text = unwritten(written);
      // Special tokens stand for themselves.
      set(id.get<std::int64_t>(), text.empty() ? written : text, written);
      ids_.emplace(written, static_cast<std::int32_t>(id.get<std::int64_t>()));
    }
    for (std::size_t id = 0; id < texts_.size(); ++id) {
      if (texts_[id].empty()) refuse(fmt::format("model.vocab has no token {}, but one of {}", id, texts_.size() - 1));
    }
    if (ids_.size() != texts_.size()) refuse("two tokens of model.vocab have the same id");
    const auto characters = byte_characters();
    for (std::size_t byte = 0; byte < 256; ++byte) {
      std::string written;
      append_utf8(written, characters[byte]);
      const auto found = ids_.find(written);
      // Bytes that no UTF-8 text holds need no token.
      const bool may_occur = byte < 0xC0 || (byte > 0xC1 && byte < 0xF5);
      if (found == ids_.end() && may_occur) refuse(fmt::format("the byte {:#04x} ('{}') is no token", byte, written));
      if (found != ids_.end()) bytes_[byte] = found->second;
    }
  }

  std::int32_t id_of(const std::string& written, std::size_t merge) const {
    const auto found = ids_.find(written);
    if (found == ids_.end()) refuse(fmt::format("merge {} names '{}', which is no token", merge, written));
    return found->second;
  }

  void read_merges(const Json& merges) {
    if (!merges.is_array()) refuse("model.merges is no list");
    merges_ = BytePairMerges(merges.size());
    for (std::size_t i = 0; i < merges.size(); ++i) {
      std::string left, right;
      if (merges[i].is_string()) {
        const std::string pair = merges[i].get<std::string>();
        const std::size_t space = pair.find(' ');
        if (space == std::string::npos) refuse(fmt::format("merge {} is '{}', expected two tokens", i, pair));
        left = pair.substr(0, space);
        right = pair.substr(space + 1);
      } else {
        left = merges[i].at(0).get<std::string>();
        right = merges[i].at(1).get<std::string>();
      }
      if (!merges_.add(id_of(left, i), id_of(right, i), id_of(left + right, i))) {
        refuse(fmt::format("merge {} repeats an earlier one", i));
      }
    }
    ids_.clear();
  }

  void read_added_tokens(const Json& tokens) {
    std::unordered_map<std::string, std::int64_t> seen;
    for (const Json& token : tokens) {
      const std::string text = token.at("content").get<std::string>();
      const auto id = token.at("id").get<std::int64_t>();
      for (const char* const option : {"single_word", "lstrip", "rstrip"}) {
        if (token.value(option, false)) refuse(fmt::format("the added token '{}' asks for {}", text, option));
      }
      // Long texts are encoded in parts, which end before a line break.
      if (text.find('\n') != std::string::npos) refuse(fmt::format("the added token {} holds a line break", id));
      set(id, text, text);
      if (!seen.emplace(text, id).second) refuse(fmt::format("the added token '{}' comes twice", text));
      (token.value("normalized", true) ? after_normalising_ : verbatim_).add(text, static_cast<std::int32_t>(id));
    }
    for (std::size_t id = 0; id < texts_.size(); ++id) {
      if (texts_[id].empty()) refuse(fmt::format("there is no token {}, but one of {}", id, texts_.size() - 1));
    }
    verbatim_.finish();
    after_normalising_.finish();
  }

  // The first place at or behind `limit` where words end whatever follows: a line break behind something visible.
  static std::size_t border(std::string_view text, std::size_t limit) {
    for (std::size_t place = limit; place < text.size(); ++place) {
      if (text[place] == '\n' && text[place - 1] > ' ' && text[place - 1] < 0x7F) return place;
    }
    return text.size();
  }

  static void check_utf8(std::string_view text, std::size_t begin, std::size_t end, const std::string& source) {
    for (std::size_t place = begin; place < end;) {
      if (next_code_point(text, place) != invalid_code_point) continue;
      throw DataError(fmt::format(
          "{}: byte {} is not valid UTF-8, which a neox vocabulary needs; tokens: bytes and world read anything",
          source, place));
    }
  }

  void encode_words(std::string_view text, Words& words, std::vector<std::int64_t>& tokens) const {
    std::vector<std::int32_t> merged;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = word_end(text, begin);
      const std::string_view word = text.substr(begin, end - begin);
      const auto known = words.find(word);
      if (known == words.end()) {
        merged.clear();
        for (const char c : word) merged.push_back(bytes_[static_cast<unsigned char>(c)]);
        merges_.apply(merged);
        tokens.insert(tokens.end(), merged.begin(), merged.end());
        if (words.size() >= most_words) words.clear();
        if (word.size() <= longest_word) words.emplace(word, merged);
      } else {
        tokens.insert(tokens.end(), known->second.begin(), known->second.end());
      }
      begin = end;
    }
  }

  std::string file_;
  std::unordered_map<std::string, std::int32_t> ids_;  // while the file is read
  std::array<std::int32_t, 256> bytes_{};
  BytePairMerges merges_;
  AddedTokens verbatim_, after_normalising_;
  mutable std::mutex words_lock_;
  mutable Words words_;
};

}  // namespace

std::shared_ptr<const FileVocabulary> parse_neox_vocabulary(std::string content, const std::string& file) {
  return std::make_shared<const NeoxVocabulary>(std::move(content), file);
}

}  // namespace rwkvlab
