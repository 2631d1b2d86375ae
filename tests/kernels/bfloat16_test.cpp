#include "kernels/bfloat16.h"

#include <gtest/gtest.h>

#include <limits>

#include "helpers.h"
#include "kernels/matmul.h"

namespace rwkvlab::kernels {
namespace {

std::uint16_t rounded_bits(std::uint32_t bits) { return to_bfloat16(std::bit_cast<float>(bits)).bits; }

TEST(Bfloat16, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(rounded_bits(0x3F807FFF), 0x3F80);
  EXPECT_EQ(rounded_bits(0x3F808000), 0x3F80) << "a tie below an odd one";
  EXPECT_EQ(rounded_bits(0x3F808001), 0x3F81);
  EXPECT_EQ(rounded_bits(0x3F818000), 0x3F82) << "a tie above an odd one";
  EXPECT_EQ(rounded_bits(0xBF818000), 0xBF82);
  EXPECT_EQ(rounded_bits(0x3FFF8000), 0x4000) << "carries into the exponent";
  EXPECT_EQ(to_float(to_bfloat16(-2.5F)), -2.5F);
}

TEST(Bfloat16, ZerosDenormalsInfinitiesAndNaN) {
  EXPECT_EQ(rounded_bits(0x80000000), 0x8000);
  EXPECT_EQ(rounded_bits(0x00000001), 0x0000);
  EXPECT_EQ(rounded_bits(0x00008000), 0x0000);
  EXPECT_EQ(rounded_bits(0x00018000), 0x0002);
  EXPECT_EQ(rounded_bits(0x807FFFFF), 0x8080) << "the largest denormal becomes the smallest normal number";
  EXPECT_EQ(rounded_bits(0x7F800000), 0x7F80);
  EXPECT_EQ(rounded_bits(0xFF800000), 0xFF80);
  EXPECT_EQ(rounded_bits(0x7F7F7FFF), 0x7F7F) << "the largest finite one";
  EXPECT_EQ(rounded_bits(0x7F7FFFFF), 0x7F80);
  // NaNs whose payload the rounding would lose or carry into the sign.
  for (const std::uint32_t bits : {0x7F800001U, 0xFF800001U, 0x7FFFFFFFU, 0xFFFFFFFFU, 0x7FC00000U}) {
    EXPECT_TRUE(std::isnan(to_float({rounded_bits(bits)}))) << bits;
    EXPECT_EQ(rounded_bits(bits) >> 15, bits >> 31);
  }
}

TEST(Bfloat16, ArraysAreRoundedAsNumbersAre) {
  const RandomStream random(3, "bits");
  std::vector<float> x(70001);  // Several pieces and a rest.
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(random.bits(i)));
  std::vector<Bfloat16> rounded(x.size());
  round_to_bfloat16(static_cast<Index>(x.size()), x.data(), rounded.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(rounded[i].bits, to_bfloat16(x[i]).bits) << i;
    const double value = x[i];
    if (std::isfinite(x[i]) && std::fabs(value) > 1e-37 && std::fabs(value) < 3.38e38) {
      ASSERT_LE(std::fabs(to_float(rounded[i]) - value), std::ldexp(std::fabs(value), -8));
    }
  }
}

class Bfloat16Products : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_bfloat16_products()) GTEST_SKIP() << "this processor has no bfloat16 products";
  }
};

struct Operands {
  Operands(const MatmulCall& call, const std::string& name) {
    values = random_values<float>(call.m * call.k, name + " a");
    others = random_values<float>(call.k * call.n, name + " b");
    a.resize(values.size());
    b.resize(others.size());
    round_to_bfloat16(call.m * call.k, values.data(), a.data());
    round_to_bfloat16(call.k * call.n, others.data(), b.data());
  }
  std::vector<float> values, others;
  std::vector<Bfloat16> a, b;
};

std::vector<MatmulCall> calls() {
  std::vector<MatmulCall> all;
  const std::vector<std::vector<Index>> sizes = {{1, 1, 1},      {3, 5, 13},     {1, 33, 70},     {70, 130, 33},
                                                 {515, 270, 96}, {64, 64, 2048}, {600, 140, 1030}};
  for (const auto& size : sizes) {
    for (int form = 0; form < 8; ++form) {
      MatmulCall call;
      call.m = size[0], call.n = size[1], call.k = size[2];
      call.transpose_a = (form & 1) != 0, call.transpose_b = (form & 2) != 0, call.accumulate = (form & 4) != 0;
      all.push_back(call);
    }
  }
  return all;
}

TEST_F(Bfloat16Products, AreSumsOfExactProductsInFloat) {
  for (const MatmulCall& call : calls()) {
    const Operands in(call, "operands");
    const auto before = random_values<float>(call.m * call.n, "c");
    auto c = before;
    batched_matmul(call, in.a.data(), in.b.data(), c.data());
    for (Index i = 0; i < call.m; i += 1 + call.m / 40) {
      for (Index j = 0; j < call.n; j += 1 + call.n / 40) {
        double of_rounded = 0, exact = 0, magnitude = 0, squares = 0;
        for (Index l = 0; l < call.k; ++l) {
          const Index at_a = call.transpose_a ? l * call.m + i : i * call.k + l;
          const Index at_b = call.transpose_b ? j * call.k + l : l * call.n + j;
          const double term = double{to_float(in.a[at_a])} * double{to_float(in.b[at_b])};
          const double unrounded = double{in.values[at_a]} * double{in.others[at_b]};
          of_rounded += term;
          exact += unrounded;
          magnitude += std::fabs(term);
          squares += unrounded * unrounded;
        }
        const double old = call.accumulate ? before[i * call.n + j] : 0, found = c[i * call.n + j];
        // At most k + 1 roundings of float sums, each 2^-24 of what was summed up to there.
        EXPECT_NEAR(found, old + of_rounded,
                    static_cast<double>(call.k + 1) * std::ldexp(magnitude + std::fabs(old), -24));
        // An operand is off by up to 2^-8 of itself, 2^-8 / sqrt(3) in the mean square if that is spread evenly; so is
        // the other, and errors of k terms add up as independent ones do: a deviation of sqrt(2 / 3) 2^-8
        // sqrt(sum of squares). Eight deviations, because of some 10^5 elements; the float sums are far below that.
        EXPECT_NEAR(found, old + exact, 6.6 * std::ldexp(std::sqrt(squares), -8));
      }
    }
  }
}

TEST_F(Bfloat16Products, BitsDoNotDependOnThreads) {
  for (const MatmulCall& call : calls()) {
    const Operands in(call, "operands");
    const auto before = random_values<float>(call.m * call.n, "c");
    expect_same_bits([&] {
      auto c = before;
      batched_matmul(call, in.a.data(), in.b.data(), c.data());
      return c;
    });
  }
}

TEST_F(Bfloat16Products, KeepWhatIsNotFinite) {
  MatmulCall call;
  call.m = 2, call.n = 3, call.k = 70;
  Operands in(call, "operands");
  in.a[5] = to_bfloat16(std::numeric_limits<float>::quiet_NaN());
  in.a[70 + 5] = to_bfloat16(std::numeric_limits<float>::infinity());
  std::vector<float> c(6);
  batched_matmul(call, in.a.data(), in.b.data(), c.data());
  for (int j = 0; j < 3; ++j) {
    EXPECT_TRUE(std::isnan(c[j]));
    EXPECT_TRUE(std::isinf(c[3 + j]));
  }
}

TEST_F(Bfloat16Products, OfBatchesAndTheirRecord) {
  const auto a = random_values<float>(3 * 8, "a"), b = random_values<float>(8, "b");
  std::vector<Bfloat16> left(a.size()), right(b.size());
  round_to_bfloat16(24, a.data(), left.data());
  round_to_bfloat16(8, b.data(), right.data());
  MatmulCall call;
  call.batch = 3, call.m = 2, call.n = 2, call.k = 4;
  call.stride_a = 8, call.stride_b = 0, call.stride_c = 4;
  std::vector<float> c(12), each(12), yardstick(12);
  const MatmulRecorder recorder;
  batched_matmul(call, left.data(), right.data(), c.data());
  ASSERT_EQ(recorder.calls().size(), 1U);
  EXPECT_TRUE(recorder.calls()[0].bfloat16);
  MatmulCall one = call;
  one.batch = 1;
  for (int i = 0; i < 3; ++i) batched_matmul(one, left.data() + 8 * i, right.data(), each.data() + 4 * i);
  EXPECT_EQ(c, each);
  batched_matmul_as_onednn_would(call, left.data(), right.data(), yardstick.data());
  EXPECT_LT(relative_error(yardstick, c), 1e-6);  // Sums of four terms in float.
}

}  // namespace
}  // namespace rwkvlab::kernels
