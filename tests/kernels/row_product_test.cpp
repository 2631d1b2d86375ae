#include "kernels/row_product.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "helpers.h"
#include "kernels/row_sums.h"
#include "kernels/spinning_team.h"

namespace rwkvlab::kernels {
namespace {

constexpr WeightFormat formats[] = {WeightFormat::float32, WeightFormat::bfloat16, WeightFormat::int8};

/// A stored matrix with its memory.
class Matrix {
 public:
  Matrix(WeightFormat format, Index outputs, Index inputs, const std::vector<float>& weights, bool input_major = false)
      : words_(static_cast<std::size_t>(stored_bytes(format, outputs, inputs) + 64)),
        scales_(static_cast<std::size_t>(outputs)) {
    void* memory = words_.data();
    std::size_t room = words_.size();
    auto* const aligned = static_cast<std::byte*>(std::align(64, room - 64, memory, room));
    float* const scales = format == WeightFormat::int8 ? scales_.data() : nullptr;
    store_rows(format, outputs, inputs, weights.data(), input_major, aligned, scales);
    rows = {format, outputs, inputs, aligned, scales};
  }
  StoredRows rows;

 private:
  std::vector<std::byte> words_;
  std::vector<float> scales_;
};

std::vector<float> restored(const StoredRows& stored) {
  std::vector<float> weights(static_cast<std::size_t>(stored.outputs * stored.inputs));
  restore_rows(stored, 0, stored.outputs, weights.data());
  return weights;
}

std::vector<double> plain_product(const std::vector<float>& weights, Index outputs, Index inputs,
                                  const std::vector<float>& x, Index rows) {
  std::vector<double> y(static_cast<std::size_t>(rows * outputs));
  for (Index r = 0; r < rows; ++r) {
    for (Index o = 0; o < outputs; ++o) {
      for (Index i = 0; i < inputs; ++i) y[r * outputs + o] += double{weights[o * inputs + i]} * x[r * inputs + i];
    }
  }
  return y;
}

std::vector<float> product(const StoredRows& stored, Index rows, const std::vector<float>& x) {
  std::vector<float> y(static_cast<std::size_t>(rows * stored.outputs));
  row_product(stored, rows, x.data(), y.data());
  return y;
}

TEST(StoredRows, HoldTheWeightsToHalfAStepOfTheirFormat) {
  const Index outputs = 5, inputs = 100;
  const auto weights = random_values<float>(outputs * inputs, "weights");
  for (const WeightFormat format : formats) {
    const auto back = restored(Matrix(format, outputs, inputs, weights).rows);
    for (Index o = 0; o < outputs; ++o) {
      float largest = 0;
      for (Index i = 0; i < inputs; ++i) largest = std::max(largest, std::abs(weights[o * inputs + i]));
      for (Index i = 0; i < inputs; ++i) {
        const float weight = weights[o * inputs + i];
        const double step = format == WeightFormat::float32    ? 0
                            : format == WeightFormat::bfloat16 ? std::abs(weight) / 256.0
                                                               : largest / 254.0 * (1 + 1e-5);  // and one rounding
        EXPECT_LE(std::abs(back[o * inputs + i] - weight), step) << name(format) << " " << o << " " << i;
      }
    }
  }
}

TEST(StoredRows, InputMajorWeightsAreTransposed) {
  const Index outputs = 3, inputs = 70;
  const auto weights = random_values<float>(outputs * inputs, "weights");
  std::vector<float> transposed(weights.size());
  for (Index o = 0; o < outputs; ++o) {
    for (Index i = 0; i < inputs; ++i) transposed[i * outputs + o] = weights[o * inputs + i];
  }
  EXPECT_EQ(restored(Matrix(WeightFormat::float32, outputs, inputs, transposed, true).rows), weights);
}

TEST(StoredRows, ARowOfZerosStaysZero) {
  const Matrix matrix(WeightFormat::int8, 1, 4, {0, 0, 0, 0});
  EXPECT_EQ(product(matrix.rows, 1, {1, 2, 3, 4}), std::vector<float>{0});
}

TEST(RowProduct, MultipliesWithWhatIsStored) {
  for (const WeightFormat format : formats) {
    for (const Index inputs : {64, 70, 256}) {
      for (const Index rows : {Index{1}, Index{3}, few_rows + 1}) {
        const Index outputs = 77;
        const Matrix matrix(format, outputs, inputs, random_values<float>(outputs * inputs, "weights"));
        const auto x = random_values<float>(rows * inputs, "x");
        // float32: sums of 256 rounded products. int8: inputs are rounded to 1 / 65534 of the largest, which is three
        // or four times a typical one.
        EXPECT_LT(relative_error(product(matrix.rows, rows, x),
                                 plain_product(restored(matrix.rows), outputs, inputs, x, rows)),
                  format == WeightFormat::int8 ? 1e-4 : 2e-6)
            << name(format) << " " << inputs << " inputs, " << rows << " rows";
      }
    }
  }
}

TEST(RowProduct, ARowDoesNotDependOnTheOthers) {
  const Index outputs = 40, inputs = 96, rows = few_rows;
  const auto x = random_values<float>(rows * inputs, "x");
  for (const WeightFormat format : formats) {
    const Matrix matrix(format, outputs, inputs, random_values<float>(outputs * inputs, "weights"));
    const auto together = product(matrix.rows, rows, x);
    for (Index row = 0; row < rows; ++row) {
      const std::vector<float> own(x.begin() + row * inputs, x.begin() + (row + 1) * inputs);
      const std::vector<float> part(together.begin() + row * outputs, together.begin() + (row + 1) * outputs);
      EXPECT_EQ(product(matrix.rows, 1, own), part) << name(format) << " row " << row;
    }
  }
}

TEST(RowProduct, SameBitsForEveryThreadCountAndTeam) {
  const Index outputs = 300, inputs = 320;
  const auto x = random_values<float>(inputs, "x");
  for (const WeightFormat format : formats) {
    const Matrix matrix(format, outputs, inputs, random_values<float>(outputs * inputs, "weights"));
    expect_same_bits([&] { return product(matrix.rows, 1, x); });
    const auto expected = product(matrix.rows, 1, x);
    const WithThreads threads(3);
    const SpinningTeam team;
    for (int turn = 0; turn < 20; ++turn) EXPECT_EQ(product(matrix.rows, 1, x), expected) << name(format);
  }
}

TEST(RowProduct, SeveralTogetherAreEachAlone) {
  const Index rows = 2;
  const auto wide = random_values<float>(rows * 192, "wide"), narrow = random_values<float>(rows * 30, "narrow");
  for (const WeightFormat format : formats) {
    const Matrix a(format, 300, 192, random_values<float>(300 * 192, "a")),
        b(format, 5, 30, random_values<float>(150, "b")), c(format, 70, 192, random_values<float>(70 * 192, "c"));
    const auto together = [&] {
      std::vector<float> y(static_cast<std::size_t>(rows * 375));
      const RowProduct products[] = {{a.rows, wide.data(), y.data()},
                                     {b.rows, narrow.data(), y.data() + rows * 300},
                                     {c.rows, wide.data(), y.data() + rows * 305}};
      row_products(products, rows);
      return y;
    };
    std::vector<float> expected = product(a.rows, rows, wide);
    for (const auto& part : {product(b.rows, rows, narrow), product(c.rows, rows, wide)})
      expected.insert(expected.end(), part.begin(), part.end());
    EXPECT_EQ(together(), expected) << name(format);
    expect_same_bits(together);
  }
}

TEST(RowProduct, TheLargestIntegersDoNotOverflow) {
  const Index inputs = 16384;
  const Matrix matrix(WeightFormat::int8, 1, inputs, std::vector<float>(inputs, 1.0F));
  EXPECT_NEAR(product(matrix.rows, 1, std::vector<float>(inputs, -3.0F))[0], -3.0 * inputs, 1e-3 * inputs);
}

TEST(RowProduct, WhatIsNoNumberStaysNone) {
  for (const WeightFormat format : formats) {
    const Matrix matrix(format, 1, 3, {1, 2, 3});
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      EXPECT_FALSE(std::isfinite(product(matrix.rows, 1, {1, bad, 1})[0])) << name(format);
    }
  }
}

TEST(RowSums, PortableLoopsAgreeWithThoseOfThisProcessor) {
  const Index count = 7, width = 192;
  std::vector<std::uint32_t> words(static_cast<std::size_t>(count * width));
  const auto numbers = random_values<float>(count * width, "numbers");
  std::memcpy(words.data(), numbers.data(), words.size() * 4);
  const auto x = random_values<float>(width, "x");
  std::vector<float> fast(count), portable(count);
  float_row_sums()(words.data(), count, width, x.data(), fast.data());
  portable_float_row_sums()(words.data(), count, width, x.data(), portable.data());
  EXPECT_LT(relative_error(fast, portable), 1e-6);  // They may round in another order.
  // Halves of random float32 words: the lower ones are any bfloat16, so make them finite ones.
  for (std::uint32_t& word : words) word = (word & 0xFFFF0000U) | (word >> 16);
  bfloat16_row_sums()(words.data(), count, width, x.data(), fast.data());
  portable_bfloat16_row_sums()(words.data(), count, width, x.data(), portable.data());
  EXPECT_LT(relative_error(fast, portable), 1e-6);

  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count * width));
  std::vector<std::int8_t> high(width), low(width);
  const RandomStream random(3, "integers");
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(random.bits(i));
  IntegerInputs inputs = {high.data(), low.data(), 0, 0.25F};
  for (std::size_t i = 0; i < high.size(); ++i) {
    high[i] = static_cast<std::int8_t>(random.bits(i + 1000));
    low[i] = static_cast<std::int8_t>(random.bits(i + 2000));
    inputs.sum += 256 * high[i] + low[i];
  }
  const std::vector<float> scales(count, 0.5F);
  std::vector<float> exact(count), same(count);
  integer_row_sums()(bytes.data(), count, width, inputs, scales.data(), exact.data());
  portable_integer_row_sums()(bytes.data(), count, width, inputs, scales.data(), same.data());
  EXPECT_EQ(exact, same);
}

TEST(SpinningTeam, RunsEveryPieceOnceAfterSleepToo) {
  const WithThreads threads(4);
  const SpinningTeam team;
  ASSERT_EQ(team.size(), 4);
  for (int turn = 0; turn < 200; ++turn) {
    std::vector<int> hits(64, 0);
    parallel_for(64, 1, [&](Index begin, Index) {
      parallel_for(1, 1, [&](Index, Index) { ++hits[begin]; });  // Nested: on this thread.
    });
    ASSERT_EQ(hits, std::vector<int>(64, 1)) << turn;
    if (turn % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

TEST(SpinningTeam, PassesErrorsOn) {
  const WithThreads threads(2);
  const SpinningTeam team;
  EXPECT_THROW(parallel_for(8, 1,
                            [](Index begin, Index) {
                              if (begin == 6) throw std::runtime_error("six");
                            }),
               std::runtime_error);
}

TEST(ReadStream, ReadsEveryWord) {
  std::vector<std::uint64_t> words(64 * 100);
  const RandomStream random(5, "words");
  std::uint64_t expected = 0;
  for (std::size_t i = 0; i < words.size(); ++i) expected ^= words[i] = random.bits(i);
  EXPECT_EQ(read_stream(reinterpret_cast<const std::byte*>(words.data()), Index(words.size() * 8)), expected);
}

}  // namespace
}  // namespace rwkvlab::kernels
