#include "models/token_scan.h"

#include <algorithm>
#include <numeric>

#include "autograd/ops/elementwise.h"
#include "autograd/ops/image_tokens.h"

namespace rwkvlab {
namespace {

std::vector<std::int64_t> by_rows(const TokenGrid& grid) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(grid.tokens()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  return order;
}

std::vector<std::int64_t> by_columns(const TokenGrid& grid) {
  std::vector<std::int64_t> order;
  for (std::int64_t column = 0; column < grid.columns; ++column) {
    for (std::int64_t row = 0; row < grid.rows; ++row) order.push_back(row * grid.columns + column);
  }
  for (std::int64_t i = grid.rows * grid.columns; i < grid.tokens(); ++i) order.push_back(i);
  return order;
}

std::vector<std::int64_t> reversed(std::vector<std::int64_t> order) {
  std::reverse(order.begin(), order.end());
  return order;
}

// What the first layer left, in the order of another: where layers take turns, those that come later have none of
// their own.
Var first_value(const ScanShared& shared, std::size_t order, const ScanTables& tables) {
  if (shared[order].first_value.defined() || !shared[0].first_value.defined()) return shared[order].first_value;
  return reorder_tokens(shared[0].first_value, tables.orders[order]);
}

}  // namespace

std::shared_ptr<const ScanTables> make_scan_tables(const ScanParams& params, const TokenGrid& grid,
                                                   std::int64_t width) {
  auto tables = std::make_shared<ScanTables>();
  tables->grid = grid;
  tables->orders.push_back(by_rows(grid));
  if (params.scan != "raster") tables->orders.push_back(reversed(by_rows(grid)));
  if (params.scan == "four_directional" || params.scan == "cross_scan") {
    tables->orders.push_back(by_columns(grid));
    tables->orders.push_back(reversed(by_columns(grid)));
  }
  if (params.token_shift == "q_shift") {
    const TokenShift shift = TokenShift::q_shift(grid, width);
    for (const auto& order : tables->orders) tables->shifts.push_back(shift.permuted(order));
  }
  return tables;
}

std::vector<std::size_t> orders_of_layer(const ScanParams& params, int layer, bool looks_both_ways) {
  if (params.scan == "bidirectional") return {0, 1};
  if (params.scan == "four_directional") return {static_cast<std::size_t>(looks_both_ways ? layer % 2 * 2 : layer % 4)};
  if (params.scan != "cross_scan") return {0};
  if (looks_both_ways) return {0, 2};
  return {0, 1, 2, 3};
}

Var scan_tokens(Mixer& mixer, const Var& x, const std::vector<std::size_t>& orders, const ScanTables& tables,
                ScanShared& shared, const ForwardContext& context) {
  Var sum;
  for (const std::size_t order : orders) {
    ForwardContext inner = context;
    inner.grid = &tables.grid;
    inner.token_shift = tables.shifts.empty() ? nullptr : &tables.shifts[order];
    SharedValues values = {first_value(shared, order, tables)};
    inner.shared = &values;
    if (order != orders.front()) inner.probes = nullptr;  // A value has one name; shown is the first order's.
    Var y = mixer.forward(order == 0 ? x : reorder_tokens(x, tables.orders[order]), inner);
    shared[order] = values;
    if (order != 0) y = reorder_tokens(y, inverse_order(tables.orders[order]));
    sum = sum.defined() ? add(sum, y) : y;
  }
  return orders.size() == 1 ? sum : scale(sum, 1.0 / static_cast<double>(orders.size()));
}

}  // namespace rwkvlab
