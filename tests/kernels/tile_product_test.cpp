#include "kernels/tile_product.h"

#include <gtest/gtest.h>

#include "helpers.h"

namespace rwkvlab::kernels {
namespace {

struct Case {
  Index rows, columns, depth;
  bool transposed, add;
};

/// The largest error of a product between strided matrices, relative to the largest element; -1 where it wrote beside
/// the result.
template <class Real>
double error_of(const Case& c) {
  const Index a_row = c.transposed ? c.rows + 3 : c.depth + 3, b_row = c.columns + 5, c_row = c.columns + 7;
  const auto a = random_values<Real>((c.transposed ? c.depth : c.rows) * a_row, "a");
  const auto b = random_values<Real>(c.depth * b_row, "b");
  const auto start = random_values<Real>(c.rows * c_row, "c");
  std::vector<Real> result = start;
  const TileLeft<Real> left = {a.data(), c.transposed ? 1 : a_row, c.transposed ? a_row : 1};
  if (c.add) {
    tile_product<true>(c.rows, c.columns, c.depth, left, b.data(), b_row, result.data(), c_row);
  } else {
    tile_product<false>(c.rows, c.columns, c.depth, left, b.data(), b_row, result.data(), c_row);
  }
  std::vector<double> actual, expected;
  for (Index i = 0; i < c.rows; ++i) {
    for (Index j = 0; j < c_row; ++j) {
      if (j >= c.columns && result[i * c_row + j] != start[i * c_row + j]) return -1;
      if (j >= c.columns) continue;
      double sum = c.add ? static_cast<double>(start[i * c_row + j]) : 0;
      for (Index k = 0; k < c.depth; ++k) {
        sum += static_cast<double>(left.at[i * left.row + k * left.step]) * static_cast<double>(b[k * b_row + j]);
      }
      actual.push_back(static_cast<double>(result[i * c_row + j]));
      expected.push_back(sum);
    }
  }
  return relative_error(actual, expected);
}

TEST(TileProduct, IsTheSumOfProductsForEveryBlocking) {
  for (const Index columns : {16, 32, 48, 64, 112}) {
    for (const Index depth : {1, 16, 67}) {
      for (const int form : {0, 1, 2, 3}) {
        const Case c = {form == 0 ? 16 : 48, columns, depth, (form & 1) != 0, (form & 2) != 0};
        SCOPED_TRACE(testing::Message() << columns << " columns, depth " << depth << ", form " << form);
        const double narrow = error_of<float>(c), wide = error_of<double>(c);
        EXPECT_GE(narrow, 0);
        EXPECT_GE(wide, 0);
        // Sums of up to 67 terms: a few roundings of the largest.
        EXPECT_LT(narrow, 1e-6);
        EXPECT_LT(wide, 2e-15);
      }
    }
  }
}

TEST(TileProduct, TransposeExchangesRowsAndColumns) {
  const Index rows = 32, columns = 21;
  const auto from = random_values<float>(rows * 25, "from");
  std::vector<float> to(static_cast<std::size_t>(columns * 40));
  tile_transpose(rows, columns, from.data(), 25, to.data(), 40);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < columns; ++j) EXPECT_EQ(to[j * 40 + i], from[i * 25 + j]);
  }
}

}  // namespace
}  // namespace rwkvlab::kernels
