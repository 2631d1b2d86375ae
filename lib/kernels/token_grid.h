// How the tokens of an image lie, and which token each of them is mixed with.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace rwkvlab {

/// How the tokens of an image lie: the grid row by row, then tokens that have no place (a class token, at the end).
struct TokenGrid {
  std::int64_t rows = 0, columns = 0, extra = 0;
  std::int64_t tokens() const { return rows * columns + extra; }
  bool operator==(const TokenGrid&) const = default;
};

/// Which token every token is mixed with, group by group of channels: in place of "the token before" of RWKV. Copies
/// share the tables. No token has two readers in one group, so that the gradient is a shift as well.
class TokenShift {
 public:
  using Token = std::int32_t;
  static constexpr Token none = -1;  ///< in place of a token: zeros are read, or nobody reads

  /// Channels [begin, end) of token t are those of token source[t]; token s is read by reader[s].
  struct Group {
    std::int64_t begin = 0, end = 0;
    const Token* source = nullptr;
    const Token* reader = nullptr;
  };

  /// Q-Shift of Vision-RWKV (arXiv:2403.02308, section 3.3; in the order of its published code): with the bounds c_n =
  /// floor(width gamma n), channels [c_0, c_1) come from the token `pixels` to the left, [c_1, c_2) from the right,
  /// [c_2, c_3) from above, [c_3, c_4) from below, the rest from the token itself. Beyond the image are zeros; tokens
  /// without a place read themselves. gamma: at most 1/4.
  static TokenShift q_shift(const TokenGrid& grid, std::int64_t width, double gamma = 0.25, std::int64_t pixels = 1);
  /// The same in the channels of each of `heads` heads, by quarters of the head; 4 divides its size.
  static TokenShift q_shift_heads(const TokenGrid& grid, std::int64_t width, std::int64_t heads,
                                  std::int64_t pixels = 1);
  /// All channels come from the token `pixels` before; zeros stand before the first.
  static TokenShift previous_token(std::int64_t tokens, std::int64_t width, std::int64_t pixels = 1);
  /// With the bounds of q_shift, channels [c_2, c_3) come from the token `pixels` before and [c_3, c_4) from the one
  /// after; all others are 0.
  static TokenShift double_shift(std::int64_t tokens, std::int64_t width, double gamma = 0.25, std::int64_t pixels = 1);

  std::int64_t tokens() const { return tokens_; }
  std::int64_t width() const { return width_; }
  const std::vector<Group>& groups() const { return *groups_; }
  /// How far the token that is read may lie from the one that reads it.
  std::int64_t reach() const { return reach_; }

  /// The same shift for a sequence that holds the tokens in another order: position j holds token order[j]. `order`:
  /// every token once.
  TokenShift permuted(std::span<const std::int64_t> order) const;

 private:
  using Table = std::vector<Token>;
  struct Part {
    std::int64_t begin, end;
    std::size_t table;
  };
  TokenShift(std::int64_t tokens, std::int64_t width, std::vector<Table> sources, const std::vector<Part>& parts);
  static std::vector<Part> quarters(std::int64_t width, double gamma);

  std::int64_t tokens_, width_, reach_ = 0;
  std::shared_ptr<const std::vector<Table>> tables_;  // sources, then their readers
  std::shared_ptr<const std::vector<Group>> groups_;
};

}  // namespace rwkvlab
