// Training time against the context's length, with equally many tokens in every step.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bench/train_bench.h"

namespace rwkvlab {

struct ContextBenchOptions {
  std::vector<std::int64_t> contexts = {256, 512, 1024, 2048, 4096, 8192};
  std::int64_t tokens = 8192;  ///< of a step; the batch is tokens / context
  int repetitions = 3;
  double seconds = 0.1;  ///< that one repetition lasts at least
};

/// Steps on sequences of one length.
struct ContextBenchPoint {
  std::int64_t context = 0, batch = 0;
  double step = 0;  ///< seconds, the least of the repetitions: forward, backward, clipping and AdamW
  double peak_tensors =
      0;  ///< bytes, the most that tensors held during a step: weights, moments, gradients, activations
};

struct ContextBenchReport {
  std::string workload;
  int threads = 0;
  std::string precision;
  std::int64_t tokens = 0;                ///< of a step
  std::vector<ContextBenchPoint> points;  ///< by rising context

  /// How many times as long as at the shortest context a step takes.
  double slowdown(const ContextBenchPoint& at) const { return at.step / points.front().step; }
};

/// Measures steps of one model at all contexts, in turns within one run, with the threads that kernels are set to. The
/// workload's own batch and context do not count. Throws ConfigError when a context does not divide the tokens.
ContextBenchReport bench_context(const TrainWorkload& workload, const ContextBenchOptions& options);

std::string text(const std::vector<ContextBenchReport>& reports);
nlohmann::json json(const std::vector<ContextBenchReport>& reports);

}  // namespace rwkvlab
