// What this machine can do at best: the scale that everything else is measured on, in the same run.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bench/measure.h"
#include "tensor/tensor.h"

namespace rwkvlab {

/// Rates with a number of threads.
struct MachineLimits {
  int threads = 0;
  double product_rate = 0;   ///< FLOP/s of a large product in float32
  double bfloat16_rate = 0;  ///< the same with operands in bfloat16; 0 on a processor without
  double memory_rate = 0;    ///< bytes per second, of arrays beyond the caches

  /// The shortest time for so much arithmetic (of which `bfloat16_flops` in bfloat16) and memory traffic: the larger
  /// one of the two, because they overlap.
  double seconds(double flops, double bfloat16_flops, double bytes) const;
  /// Products that the same run did in this time: a rate that was reached is no more than the limit.
  void reached(double flops, bool in_bfloat16, double seconds);
};

/// The candidates that measure them: products of 1024 x 1024 matrices, as oneDNN threads them, and c = a + b over
/// arrays of 64 MB each.
class LimitProbe {
 public:
  LimitProbe();
  std::vector<Candidate> candidates() const;
  /// From the timings of candidates(), which begin at `first`, with the threads that kernels are set to.
  static MachineLimits limits(const std::vector<Timing>& timings, std::size_t first);

 private:
  Tensor a_, b_, c_;
};

/// "limits: 105 GFLOP/s in float32 products, 230 in bfloat16, 14 GB/s of memory".
std::string text(const MachineLimits& limits);
nlohmann::json json(const MachineLimits& limits);

}  // namespace rwkvlab
