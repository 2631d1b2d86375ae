// Random numbers of one augmented picture or batch.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/random.h"

namespace rwkvlab {

/// A sequence of random numbers that depends on (stream, index) alone. Unlike Draws it gives real numbers, whose last
/// bits may differ between machines.
class Chances {
 public:
  /// `index` in [0, 2^40): 2^24 numbers each.
  Chances(const RandomStream& random, std::int64_t index)
      : random_(random), next_(static_cast<std::uint64_t>(index) << 24) {}

  /// Uniform in [0, 1).
  double uniform() { return random_.uniform(next_++); }
  double between(double low, double high) { return low + (high - low) * uniform(); }
  bool happens(double probability) { return uniform() < probability; }
  /// Uniform in [0, bound), bound > 0.
  std::int64_t below(std::int64_t bound) {
    return static_cast<std::int64_t>(random_.below(next_++, static_cast<std::uint64_t>(bound)));
  }
  double normal() { return random_.normal(next_++); }
  /// Beta(alpha, alpha): X / (X + Y) with X, Y of a Gamma distribution.
  double beta(double alpha) {
    const double x = gamma(alpha), y = gamma(alpha);
    return x + y > 0 ? x / (x + y) : static_cast<double>(below(2));
  }

 private:
  // Marsaglia and Tsang, "A simple method for generating gamma variables" (doi:10.1145/358407.358414); shapes below 1
  // through Gamma(a) = Gamma(a + 1) U^(1/a).
  double gamma(double shape) {
    if (shape < 1) return gamma(shape + 1) * std::pow(1 - uniform(), 1 / shape);
    const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
    while (true) {
      const double x = normal(), v = std::pow(1 + c * x, 3);
      if (v > 0 && std::log(1 - uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
    }
  }

  const RandomStream& random_;
  std::uint64_t next_;
};

}  // namespace rwkvlab
