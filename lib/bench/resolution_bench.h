// What an image costs against its size: models of images beside each other.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/train_bench.h"

namespace rwkvlab {

struct ResolutionBenchOptions {
  std::vector<std::int64_t> sides = {224, 384, 512, 768, 1024};  ///< of square images, pixels
  int batch = 1;
  bool training = false;  ///< also forward and backward passes
  int repetitions = 3;
  double seconds = 0.1;  ///< that one repetition lasts at least
};

/// A pass over one batch: seconds, the least of the repetitions, and the most bytes that tensors held, weights
/// included.
struct ResolutionCost {
  double seconds = 0, peak_tensors = 0;
};

/// Images of one size.
struct ResolutionPoint {
  std::int64_t side = 0, tokens = 0;  ///< tokens of an image
  ResolutionCost forward;             ///< without anything kept for a backward pass
  std::optional<ResolutionCost> training;
};

struct ResolutionReport {
  std::string workload;
  int threads = 0, batch = 0;
  std::string precision;
  std::vector<ResolutionPoint> points;  ///< by rising side
};

/// Measures all models at all sizes, in turns within one run. Positions are resized to the images; batches of the
/// workloads do not count. Throws ConfigError for models that read no images.
std::vector<ResolutionReport> bench_resolution(const std::vector<TrainWorkload>& workloads,
                                               const ResolutionBenchOptions& options);

/// The side at which forward passes of `a` and `b` take equally long: between two measured sides, times follow powers
/// of the side. Nothing when one of them is faster at all sides.
std::optional<double> crossing_side(const ResolutionReport& a, const ResolutionReport& b);

std::string text(const std::vector<ResolutionReport>& reports);
nlohmann::json json(const std::vector<ResolutionReport>& reports);

}  // namespace rwkvlab
