// A model in training on batches of one shape, for benchmarks.
#pragma once

#include <memory>
#include <vector>

#include "bench/train_bench.h"
#include "kernels/matmul.h"
#include "train/objective.h"
#include "train/optimizer.h"

namespace rwkvlab {

/// The steps of a workload, one by one, and parts of them.
class BenchTraining {
 public:
  /// Initial weights, AdamW.
  explicit BenchTraining(const TrainWorkload& workload);

  /// Goes on with batches of another shape.
  void use_batches_of(int batch, int context);
  /// Makes a batch as steps do.
  void make_batch();
  /// Tokens of a step; of images, patches.
  double tokens();

  /// Forward pass and loss, recorded.
  void forward();
  void forward_backward();
  /// Forward, backward, clipping and AdamW.
  void step();
  /// Forward pass and loss as in an evaluation.
  void infer();
  /// Every matrix product of a step, and of a forward pass.
  std::vector<kernels::MatmulCall> products();
  std::vector<kernels::MatmulCall> inference_products();

 private:
  void make_random_batch();
  Batch next_batch();
  Var loss(bool training);
  void differentiate();

  TrainWorkload workload_;
  std::unique_ptr<Module> model_;
  std::unique_ptr<Objective> objective_;  // of images
  Batch random_;
  std::int64_t steps_ = 0;
  std::vector<TrainedParameter> parameters_;
  std::unique_ptr<Optimizer> optimizer_;
};

}  // namespace rwkvlab
