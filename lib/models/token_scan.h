// In which orders the tokens of an image are read by mixers that were made for sequences.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blocks/mixer.h"
#include "kernels/token_grid.h"

namespace rwkvlab {

/// How a time mix reads the tokens of an image.
struct ScanParams {
  /// raster: once, row by row; bidirectional: that and its reverse, averaged; four_directional: layers take turns of
  /// four orders: row by row, the reverse, column by column, the reverse; cross_scan: all four in every layer,
  /// averaged.
  std::string scan = "raster";
  /// own: what the mixer does by itself; q_shift: Q-Shift (arXiv:2403.02308, section 3.3).
  std::string token_shift = "own";
};

/// What a scan needs on one grid: made once and shared.
struct ScanTables {
  TokenGrid grid;
  std::vector<std::vector<std::int64_t>> orders;  ///< position j holds token order[j]; the first is the grid's own
  std::vector<TokenShift> shifts;                 ///< of each order; empty: the mixers' own
};

/// The tables of a grid of `width` channels. Tokens without a place come last in the orders that are no reverse.
std::shared_ptr<const ScanTables> make_scan_tables(const ScanParams& params, const TokenGrid& grid, std::int64_t width);

/// What layers leave for later layers, one per order: every order has a first layer of its own.
using ScanShared = std::vector<SharedValues>;

/// Numbers of the orders that a layer reads; without the reverses for mixers that look both ways.
std::vector<std::size_t> orders_of_layer(const ScanParams& params, int layer, bool looks_both_ways);

/// The mean over the orders of the mixer's results, each put back into the grid's order. `shared` has one entry per
/// order of the tables.
Var scan_tokens(Mixer& mixer, const Var& x, const std::vector<std::size_t>& orders, const ScanTables& tables,
                ScanShared& shared, const ForwardContext& context);

}  // namespace rwkvlab
