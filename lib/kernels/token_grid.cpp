#include "kernels/token_grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"

namespace rwkvlab {
namespace {

using Table = std::vector<TokenShift::Token>;

/// The neighbour (rows, columns) away of every token of the grid; tokens without a place are their own.
Table neighbours(const TokenGrid& grid, std::int64_t down, std::int64_t right) {
  Table source;
  source.reserve(static_cast<std::size_t>(grid.tokens()));
  for (std::int64_t row = 0; row < grid.rows; ++row) {
    for (std::int64_t column = 0; column < grid.columns; ++column) {
      const std::int64_t r = row + down, c = column + right;
      const bool inside = r >= 0 && r < grid.rows && c >= 0 && c < grid.columns;
      source.push_back(inside ? static_cast<TokenShift::Token>(r * grid.columns + c) : TokenShift::none);
    }
  }
  for (std::int64_t token = grid.rows * grid.columns; token < grid.tokens(); ++token) {
    source.push_back(static_cast<TokenShift::Token>(token));
  }
  return source;
}

/// The token `distance` later; none beyond the ends.
Table along(std::int64_t tokens, std::int64_t distance) {
  Table source(static_cast<std::size_t>(tokens), TokenShift::none);
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int64_t from = t + distance;
    if (from >= 0 && from < tokens) source[t] = static_cast<TokenShift::Token>(from);
  }
  return source;
}

/// From the left, from the right, from above, from below, from the token itself.
std::vector<Table> directions(const TokenGrid& grid, std::int64_t pixels) {
  return {neighbours(grid, 0, -pixels), neighbours(grid, 0, pixels), neighbours(grid, -pixels, 0),
          neighbours(grid, pixels, 0), neighbours(grid, 0, 0)};
}

Table readers(const Table& source) {
  Table reader(source.size(), TokenShift::none);
  for (std::size_t t = 0; t < source.size(); ++t) {
    if (source[t] == TokenShift::none) continue;
    if (reader[source[t]] != TokenShift::none) throw ShapeError("a token shift reads a token twice");
    reader[source[t]] = static_cast<TokenShift::Token>(t);
  }
  return reader;
}

void check_fraction(double gamma) {
  if (gamma >= 0 && gamma <= 0.25) return;
  throw ConfigError(
      fmt::format("channel_gamma {}: a token shift moves four groups of this share of the channels, so it "
                  "is between 0 and 0.25",
                  gamma));
}

}  // namespace

TokenShift::TokenShift(std::int64_t tokens, std::int64_t width, std::vector<Table> sources,
                       const std::vector<Part>& parts)
    : tokens_(tokens), width_(width) {
  auto tables = std::make_shared<std::vector<Table>>(std::move(sources));
  const std::size_t count = tables->size();
  for (std::size_t i = 0; i < count; ++i) {
    const Table& source = (*tables)[i];
    for (std::size_t t = 0; t < source.size(); ++t) {
      if (source[t] != none) reach_ = std::max(reach_, std::abs(source[t] - static_cast<std::int64_t>(t)));
    }
    tables->push_back(readers(source));
  }
  auto groups = std::make_shared<std::vector<Group>>();
  for (const Part& part : parts) {
    if (part.begin == part.end) continue;
    groups->push_back({part.begin, part.end, (*tables)[part.table].data(), (*tables)[count + part.table].data()});
  }
  tables_ = std::move(tables);
  groups_ = std::move(groups);
}

// Table n for channels [c_n, c_(n+1)), c_5 = width.
std::vector<TokenShift::Part> TokenShift::quarters(std::int64_t width, double gamma) {
  check_fraction(gamma);
  std::vector<Part> parts;
  std::int64_t begin = 0;
  for (std::size_t n = 1; n <= 5; ++n) {
    // The product with the width first, then rounded towards 0: the bounds of the published code.
    const double share = static_cast<double>(width) * gamma;
    const std::int64_t end = n == 5 ? width : static_cast<std::int64_t>(share * static_cast<double>(n));
    parts.push_back({begin, end, n - 1});
    begin = end;
  }
  return parts;
}

TokenShift TokenShift::q_shift(const TokenGrid& grid, std::int64_t width, double gamma, std::int64_t pixels) {
  return {grid.tokens(), width, directions(grid, pixels), quarters(width, gamma)};
}

TokenShift TokenShift::q_shift_heads(const TokenGrid& grid, std::int64_t width, std::int64_t heads,
                                     std::int64_t pixels) {
  if (heads < 1 || width % (4 * heads) != 0) {
    throw ConfigError(
        fmt::format("{} channels in {} heads: a token shift by quarters of a head needs heads of a "
                    "multiple of 4 channels",
                    width, heads));
  }
  const std::int64_t quarter = width / heads / 4;
  std::vector<Part> parts;
  for (std::int64_t n = 0; n < 4 * heads; ++n) {
    parts.push_back({n * quarter, (n + 1) * quarter, static_cast<std::size_t>(n % 4)});
  }
  return {grid.tokens(), width, directions(grid, pixels), parts};
}

TokenShift TokenShift::previous_token(std::int64_t tokens, std::int64_t width, std::int64_t pixels) {
  return {tokens, width, {along(tokens, -pixels)}, {{0, width, 0}}};
}

TokenShift TokenShift::double_shift(std::int64_t tokens, std::int64_t width, double gamma, std::int64_t pixels) {
  const std::vector<Part> bounds = quarters(width, gamma);
  const Table nothing(static_cast<std::size_t>(tokens), none);
  return {tokens,
          width,
          {nothing, along(tokens, -pixels), along(tokens, pixels)},
          {{0, bounds[2].begin, 0},
           {bounds[2].begin, bounds[2].end, 1},
           {bounds[3].begin, bounds[3].end, 2},
           {bounds[3].end, width, 0}}};
}

TokenShift TokenShift::permuted(std::span<const std::int64_t> order) const {
  if (static_cast<std::int64_t>(order.size()) != tokens_) {
    throw ShapeError(fmt::format("a token shift of {} tokens in an order of {}", tokens_, order.size()));
  }
  Table position(order.size(), none);
  for (std::size_t j = 0; j < order.size(); ++j) {
    if (order[j] < 0 || order[j] >= tokens_ || position[order[j]] != none) {
      throw ShapeError(fmt::format("an order of {} tokens that does not name each of them once", tokens_));
    }
    position[order[j]] = static_cast<Token>(j);
  }
  std::vector<Table> sources(tables_->begin(), tables_->begin() + static_cast<std::ptrdiff_t>(tables_->size() / 2));
  std::vector<Part> parts;
  for (const Group& group : *groups_) {
    std::size_t table = 0;
    while ((*tables_)[table].data() != group.source) ++table;
    parts.push_back({group.begin, group.end, table});
  }
  for (std::size_t i = 0; i < sources.size(); ++i) {
    for (std::size_t j = 0; j < order.size(); ++j) {
      const Token from = (*tables_)[i][order[j]];
      sources[i][j] = from == none ? none : position[from];
    }
  }
  return {tokens_, width_, std::move(sources), parts};
}

}  // namespace rwkvlab
