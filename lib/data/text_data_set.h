// Batches from one training text and one held-out text; what the kinds of textual data sets have in common.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/random.h"
#include "config/fields.h"
#include "data/batch_order.h"
#include "data/data_set.h"
#include "data/token_text.h"

namespace rwkvlab {

/// What a textual data set is made of.
struct TextDataSetParts {
  std::string kind;                      ///< for describe()
  std::string order = "random_offsets";  ///< see order_named()
  double held_out_fraction = 0;          ///< share of the tokens of `text` kept aside, from its end
  TokenText text;                        ///< never empty
  std::optional<TokenText> apart;        ///< a held-out text of its own, with the same tokenizer
  std::uint64_t seed = 0;
};

/// See TokenDataSet. The held-out end is read with the last training token before it as its first input, so that each
/// of its tokens is a target; the first token of a held-out text of its own is none.
class TextDataSet final : public TokenDataSet {
 public:
  explicit TextDataSet(TextDataSetParts parts);

  const Tokenizer& tokenizer() const override { return *text_.tokenizer(); }
  Batch training_batch(std::int64_t step, std::int64_t batch, std::int64_t context) const override;
  std::int64_t training_tokens() const override { return split_; }
  std::int64_t held_out_batches(std::int64_t batch, std::int64_t context, std::int64_t limit) const override;
  Batch held_out_batch(std::int64_t index, std::int64_t batch, std::int64_t context) const override;
  double bytes_per_token() const override { return text_.bytes_per_token(); }
  std::string describe() const override;

 private:
  const TokenText& held_out_text() const { return apart_ ? *apart_ : text_; }
  std::int64_t windows(std::int64_t context) const;

  std::string kind_;
  Order order_;
  RandomStream random_;
  TokenText text_;
  std::optional<TokenText> apart_;
  std::int64_t split_ = 0;        // tokens of text_ that are trained on
  std::int64_t first_input_ = 0;  // of the held-out text
  std::int64_t held_out_targets_ = 0;
};

/// What a token of a text is, as the experiment file says it.
struct TokenChoice {
  std::string tokens = "bytes";           ///< bytes, characters, world or neox
  std::optional<std::string> vocabulary;  ///< the file of world and neox
};

/// The tokenizer that was chosen. Characters are those of `text`, including its held-out end, so that the split does
/// not change their numbers; a relative vocabulary starts at `folder`. Throws DataError naming the file for invalid
/// UTF-8 and for a vocabulary that is none.
std::shared_ptr<const Tokenizer> make_tokenizer(const TokenChoice& choice, const TextSource& text,
                                                const std::filesystem::path& folder);

/// Declares `order`, which every textual data set has.
template <class Params>
void describe_order(Fields<Params>& f) {
  f.add("order", &Params::order, "how the training text is walked through",
        one_of({{"random_offsets", "each row begins at a random token"},
                {"magic_prime", "an epoch visits each slot of one context once, scrambled by cubing modulo a prime"},
                {"sequential", "each row reads on where it stopped, so that state can be carried"}}));
}

/// Declares `tokens`, `vocabulary` and `order`, for data sets that encode text themselves.
template <class Params>
void describe_reading(Fields<Params>& f) {
  f.add("tokens", &Params::tokens, "what a token is",
        one_of({{"bytes", "a byte; 256 tokens, any file"},
                {"characters", "a character of the text, numbered by code point; UTF-8 only"},
                {"world", "the longest token of the RWKV World vocabulary; any file"},
                {"neox", "byte-pair encoding of GPT-NeoX 20B, the tokens of RWKV-4 Pile models; UTF-8 only"}}));
  f.add("vocabulary", &Params::vocabulary,
        "the file of `world` (rwkv_vocab_v20230424.txt) or `neox` (20B_tokenizer.json); may be packed with gzip")
      .path();
  f.check(
      [](const Params& p) {
        const bool is_file = p.tokens == "world" || p.tokens == "neox";
        if (is_file && !p.vocabulary) return "tokens: " + p.tokens + " needs the file of its vocabulary";
        return !is_file && p.vocabulary ? "tokens: " + p.tokens + " have no vocabulary file" : std::string();
      },
      "vocabulary");
  describe_order(f);
}

}  // namespace rwkvlab
