#include "data/token_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "data/token_file.h"

namespace rwkvlab {
namespace {

// Encoded at a time; the tokens of a part are 64-bit numbers until they are stored.
constexpr std::size_t part_bytes = std::size_t{4} << 20;

class ByteTokens final : public TokenStorage {
 public:
  explicit ByteTokens(std::shared_ptr<const TextSource> source) : source_(std::move(source)) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(source_->size()); }

  void read(std::int64_t begin, std::span<std::int64_t> into) const override {
    auto place = static_cast<std::uint64_t>(begin);
    std::size_t number = into.empty() ? 0 : source_->piece_at(place);
    while (!into.empty()) {
      const TextSource::Piece& piece = source_->pieces()[number++];
      const std::string_view rest = piece.bytes.substr(place - piece.begin, into.size());
      std::transform(rest.begin(), rest.end(), into.begin(), [](char c) { return static_cast<unsigned char>(c); });
      into = into.subspan(rest.size());
      place += rest.size();
    }
  }

 private:
  std::shared_ptr<const TextSource> source_;
};

template <class Id>
class NumberedTokens final : public TokenStorage {
 public:
  NumberedTokens(const TextSource& source, const Tokenizer& tokenizer) {
    std::vector<std::int64_t> tokens;
    for (const TextSource::Piece& piece : source.pieces()) {
      for (std::size_t begin = 0; begin < piece.bytes.size();) {
        tokens.clear();
        begin = tokenizer.encode_part(piece.bytes, begin, begin + part_bytes, fmt::format("'{}'", piece.name), tokens);
        std::transform(tokens.begin(), tokens.end(), std::back_inserter(ids_),
                       [](std::int64_t token) { return static_cast<Id>(token); });
      }
    }
    ids_.shrink_to_fit();
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(ids_.size()); }
  void read(std::int64_t begin, std::span<std::int64_t> into) const override {
    std::copy_n(ids_.begin() + begin, into.size(), into.begin());
  }

 private:
  std::vector<Id> ids_;
};

class FiledTokens final : public TokenStorage {
 public:
  explicit FiledTokens(const std::vector<std::filesystem::path>& paths) {
    for (const std::filesystem::path& path : paths) {
      files_.emplace_back(path);
      ends_.push_back(size() + files_.back().size());
    }
  }
  std::int64_t size() const override { return ends_.empty() ? 0 : ends_.back(); }
  const std::vector<TokenFile>& files() const { return files_; }

  void read(std::int64_t begin, std::span<std::int64_t> into) const override {
    while (!into.empty()) {
      const auto number = static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), begin) - ends_.begin());
      const TokenFile& file = files_[number];
      const std::int64_t rest = ends_[number] - begin;
      const auto count = static_cast<std::size_t>(std::min(rest, static_cast<std::int64_t>(into.size())));
      file.read(file.size() - rest, into.first(count));
      into = into.subspan(count);
      begin += static_cast<std::int64_t>(count);
    }
  }

 private:
  std::vector<TokenFile> files_;
  std::vector<std::int64_t> ends_;
};

std::shared_ptr<const TokenStorage> store(std::shared_ptr<const TextSource> source, const Tokenizer& tokenizer) {
  if (tokenizer.is_bytes()) return std::make_shared<const ByteTokens>(std::move(source));
  if (tokenizer.size() <= 65536) return std::make_shared<const NumberedTokens<std::uint16_t>>(*source, tokenizer);
  return std::make_shared<const NumberedTokens<std::uint32_t>>(*source, tokenizer);
}

}  // namespace

TokenText::TokenText(std::shared_ptr<const TextSource> source, std::shared_ptr<const Tokenizer> tokenizer)
    : tokenizer_(std::move(tokenizer)), names_(source->names()), bytes_(source->size()) {
  storage_ = store(std::move(source), *tokenizer_);
}

TokenText::TokenText(const std::vector<std::filesystem::path>& token_files) {
  const auto storage = std::make_shared<const FiledTokens>(token_files);
  check_invariant(!storage->files().empty(), "a text of no token file");
  const TokenFile& first = storage->files().front();
  tokenizer_ = std::make_shared<const Tokenizer>(first.tokenizer());
  for (const TokenFile& file : storage->files()) {
    if (file.digest() != first.digest()) {
      throw DataError(fmt::format("'{}' and '{}' were made with different tokenizers ({}… and {}…)",
                                  first.path().string(), file.path().string(), first.digest().substr(0, 12),
                                  file.digest().substr(0, 12)));
    }
    bytes_ += static_cast<std::uint64_t>(file.source_bytes());
  }
  const std::size_t others = token_files.size() - 1;
  names_ = fmt::format("'{}'", first.path().string());
  if (others > 0) names_ += fmt::format(" and {} more file{}", others, others == 1 ? "" : "s");
  storage_ = storage;
}

void TokenText::read(std::int64_t begin, std::span<std::int64_t> into) const {
  check_invariant(begin >= 0 && static_cast<std::uint64_t>(begin) + into.size() <= static_cast<std::uint64_t>(size()),
                  "tokens outside the text were asked for");
  if (!into.empty()) storage_->read(begin, into);
}

std::int64_t TokenText::bytes_of(std::span<const std::int64_t> tokens) const {
  if (tokenizer_->is_bytes()) return static_cast<std::int64_t>(tokens.size());
  std::int64_t bytes = 0;
  for (const std::int64_t token : tokens) bytes += tokenizer_->byte_length(token);
  return bytes;
}

std::int64_t TokenText::characters_of(std::span<const std::int64_t> tokens) const {
  std::int64_t characters = 0;
  for (const std::int64_t token : tokens) characters += tokenizer_->character_count(token);
  return characters;
}

double TokenText::bytes_per_token() const {
  return size() == 0 ? 1 : static_cast<double>(bytes_) / static_cast<double>(size());
}

}  // namespace rwkvlab
