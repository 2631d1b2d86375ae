// Sums over held-out images: loss, accuracies and the overlap of predicted and true areas.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autograd/ops/image_losses.h"
#include "train/objective.h"

namespace rwkvlab {

/// Adds up batches in the order in which they come.
class ImageSums {
 public:
  /// `classes`: 0 where nothing is classified.
  ImageSums(std::int64_t classes, LossMeasure unit) : classes_(classes), unit_(std::move(unit)), all_(classes) {}

  /// The loss of every row, and how the row was classified: logits [..., classes] and as many labels, -1 where a row
  /// does not count. `set` as ImageBatch::evaluation_set.
  void add(const RowLoss& loss, const Tensor& logits, const Tensor& labels, const std::string& set);
  /// Losses alone.
  void add(const RowLoss& loss, const std::string& set);

  /// loss: mean per counted row; accuracy: share of counted rows whose label has the largest logit. `metrics`:
  /// top5_accuracy with more than five classes; with `areas`, mean_iou: per class, rows that are and are called so,
  /// divided by those that are or are called so, averaged over the classes that have any.
  Evaluation result(bool areas) const;

 private:
  struct Sums {
    explicit Sums(std::int64_t classes)
        : both(static_cast<std::size_t>(classes)), labelled(both.size()), predicted(both.size()) {}
    double loss = 0;
    std::int64_t rows = 0, first = 0, within_five = 0;
    std::vector<std::int64_t> both, labelled, predicted;  // per class
    double share(std::int64_t count) const { return static_cast<double>(count) / static_cast<double>(rows); }
    double mean_iou() const;
  };
  struct NamedSums {
    std::string name;
    Sums sums;
  };
  std::vector<Sums*> sums_of(const std::string& set);

  std::int64_t classes_;
  LossMeasure unit_;
  Sums all_;
  std::vector<NamedSums> sets_;
};

}  // namespace rwkvlab
