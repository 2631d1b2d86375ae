// What the kernel tests share: seeded data, comparison, finite differences, and running with several thread counts.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "kernels/parallel.h"

namespace rwkvlab::kernels {

/// Normal numbers that depend on the name alone. The float and double forms hold the same values.
template <class Real>
std::vector<Real> random_values(Index count, const std::string& name, double scale = 1) {
  const RandomStream stream(11, name);
  std::vector<Real> values(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) {
    values[i] = static_cast<Real>(static_cast<float>(scale * stream.normal(static_cast<std::uint64_t>(i))));
  }
  return values;
}

template <class To, class From>
std::vector<To> convert(const std::vector<From>& from) {
  return std::vector<To>(from.begin(), from.end());
}

/// Largest |actual - expected| relative to the largest |expected|; NaN counts as infinite.
template <class A, class B>
double relative_error(const std::vector<A>& actual, const std::vector<B>& expected) {
  double error = 0, size = 1e-300;
  EXPECT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
    const double difference = std::fabs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    error = std::isnan(difference) ? HUGE_VAL : std::max(error, difference);
    size = std::max(size, std::fabs(static_cast<double>(expected[i])));
  }
  return error / size;
}

/// Vectors of one problem by name.
template <class Real>
using Named = std::vector<std::pair<const char*, std::vector<Real>>>;

/// Every vector of one agrees with that of the other.
template <class A, class B>
void expect_close(const Named<A>& actual, const Named<B>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_LT(relative_error(actual[i].second, expected[i].second), tolerance) << actual[i].first;
  }
}

/// Compares an analytic gradient with central differences of `loss`, in double. The step's truncation error and the
/// rounding error of the loss are both near 1e-9, so 1e-6 leaves room for badly scaled cases and none for a wrong term.
template <class Loss>
void expect_gradient(std::vector<double>& input, const std::vector<double>& gradient, const std::string& name,
                     const Loss& loss, double tolerance = 1e-6) {
  std::vector<double> numeric(input.size());
  for (std::size_t i = 0; i < input.size(); ++i) {
    const double value = input[i], step = 1e-5 * std::max(1.0, std::fabs(value));
    input[i] = value + step;
    const double above = loss();
    input[i] = value - step;
    const double below = loss();
    input[i] = value;
    numeric[i] = (above - below) / (2 * step);
  }
  EXPECT_LT(relative_error(gradient, numeric), tolerance) << "gradient of " << name;
}

/// Sum of weights * values: turns an output into a scalar whose gradient is the weights.
inline double weighted_sum(const std::vector<double>& values, const std::vector<double>& weights) {
  double total = 0;
  for (std::size_t i = 0; i < values.size(); ++i) total += values[i] * weights[i];
  return total;
}

/// Sets the thread count, and puts the old one back.
class WithThreads {
 public:
  explicit WithThreads(int count) : before_(threads()) { set_threads(count); }
  ~WithThreads() { set_threads(before_); }
  WithThreads(const WithThreads&) = delete;
  WithThreads& operator=(const WithThreads&) = delete;

 private:
  int before_;
};

/// run() returns a vector; its bytes must not depend on the number of threads.
template <class Run>
void expect_same_bits(const Run& run) {
  const auto with = [&run](int count) {
    const WithThreads scope(count);
    return run();
  };
  const auto one = with(1);
  ASSERT_FALSE(one.empty());
  for (const int count : {2, 5}) {
    const auto several = with(count);
    ASSERT_EQ(one.size(), several.size());
    EXPECT_EQ(std::memcmp(one.data(), several.data(), one.size() * sizeof(one[0])), 0) << count << " threads";
  }
}

/// Several vectors as one, for expect_same_bits.
template <class Real>
std::vector<Real> joined(std::initializer_list<std::vector<Real>> parts) {
  std::vector<Real> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace rwkvlab::kernels
