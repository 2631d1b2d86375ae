// A model in training on batches of one shape, for benchmarks.
#pragma once

#include <memory>
#include <vector>

#include "bench/train_bench.h"
#include "kernels/matmul.h"
#include "train/optimizer.h"

namespace rwkvlab {

/// The steps of a workload, one by one, and parts of them.
class BenchTraining {
 public:
  /// Initial weights, AdamW.
  explicit BenchTraining(const TrainWorkload& workload);

  /// Goes on with batches of another shape.
  void use_batches_of(int batch, int context);
  Batch next_batch();

  /// Forward pass and loss, recorded.
  void forward();
  void forward_backward();
  /// Forward, backward, clipping and AdamW.
  void step();
  /// Every matrix product of a step.
  std::vector<kernels::MatmulCall> products();

 private:
  void make_random_batch();
  void differentiate();

  TrainWorkload workload_;
  std::unique_ptr<LanguageModel> model_;
  Batch random_;
  std::int64_t steps_ = 0;
  std::vector<TrainedParameter> parameters_;
  std::unique_ptr<Optimizer> optimizer_;
};

}  // namespace rwkvlab
