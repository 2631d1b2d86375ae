// Sums over held-out data: loss, accuracy, and both by set and by position.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autograd/ops/cross_entropy.h"
#include "data/data_set.h"
#include "train/objective.h"

namespace rwkvlab {

/// Adds up batches in the order in which they come.
class EvaluationSums {
 public:
  explicit EvaluationSums(bool by_position) : by_position_(by_position) {}

  /// logits: [batch, time, vocabulary], or one row per target that counts, in their order (see TargetLogits); `loss` is
  /// theirs.
  void add(const CrossEntropyLoss& loss, const Tensor& logits, const Batch& batch);
  Evaluation result() const;

 private:
  struct Sums {
    double nats = 0, row_accuracies = 0;
    std::int64_t tokens = 0, rows = 0;
    double loss() const { return nats / static_cast<double>(tokens); }
    double accuracy() const { return row_accuracies / static_cast<double>(rows); }
  };
  struct Position {
    double nats = 0;
    std::int64_t tokens = 0, right = 0;
  };
  struct NamedSums {
    std::string name;
    Sums sums;
  };
  template <class Real>
  void add_rows(const CrossEntropyLoss& loss, const Tensor& logits, const Batch& batch, Sums* of_set);
  Sums* sums_of(const std::string& set);

  bool by_position_;
  Sums all_;
  std::int64_t bytes_ = 0, characters_ = 0;
  std::vector<NamedSums> sets_;
  std::vector<Position> positions_;
};

}  // namespace rwkvlab
