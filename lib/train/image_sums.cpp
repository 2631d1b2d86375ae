#include "train/image_sums.h"

#include <algorithm>
#include <cmath>

namespace rwkvlab {

double ImageSums::Sums::mean_iou() const {
  double sum = 0;
  int classes = 0;
  for (std::size_t c = 0; c < both.size(); ++c) {
    const std::int64_t either = labelled[c] + predicted[c] - both[c];
    if (either == 0) continue;
    sum += static_cast<double>(both[c]) / static_cast<double>(either);
    ++classes;
  }
  return classes > 0 ? sum / classes : std::nan("");
}

std::vector<ImageSums::Sums*> ImageSums::sums_of(const std::string& set) {
  if (set.empty()) return {&all_};
  auto found = std::find_if(sets_.begin(), sets_.end(), [&](const NamedSums& known) { return known.name == set; });
  if (found == sets_.end()) found = sets_.insert(sets_.end(), NamedSums{set, Sums(classes_)});
  return {&all_, &found->sums};
}

void ImageSums::add(const RowLoss& loss, const std::string& set) {
  const std::vector<double> losses = loss.row_losses.to_doubles();
  for (Sums* const sums : sums_of(set)) {
    for (const double value : losses) sums->loss += value;
    sums->rows += loss.counted;
  }
}

void ImageSums::add(const RowLoss& loss, const Tensor& logits, const Tensor& labels, const std::string& set) {
  add(loss, set);
  const std::span<const std::int64_t> all = labels.span<std::int64_t>();
  const std::vector<Sums*> totals = sums_of(set);
  for_real(logits.dtype(), [&]<class Real>(Real) {
    const std::span<const Real> values = logits.span<Real>();
    const auto classes = static_cast<std::size_t>(classes_);
    for (std::size_t row = 0; row < all.size(); ++row) {
      if (all[row] < 0) continue;
      const std::span<const Real> scores = values.subspan(row * classes, classes);
      const Real own = scores[static_cast<std::size_t>(all[row])];
      // Of equal scores the first is the larger one.
      const auto label = static_cast<std::ptrdiff_t>(all[row]);
      const auto above = std::count_if(scores.begin(), scores.end(), [own](Real score) { return score > own; }) +
                         std::count(scores.begin(), scores.begin() + label, own);
      const auto predicted = static_cast<std::size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
      for (Sums* const sums : totals) {
        sums->first += above == 0 ? 1 : 0;
        sums->within_five += above < 5 ? 1 : 0;
        ++sums->labelled[static_cast<std::size_t>(all[row])];
        ++sums->predicted[predicted];
        sums->both[predicted] += predicted == static_cast<std::size_t>(all[row]) ? 1 : 0;
      }
    }
  });
}

Evaluation ImageSums::result(bool areas) const {
  Evaluation evaluation;
  evaluation.unit = unit_;
  evaluation.tokens = all_.rows;
  evaluation.loss = all_.loss / static_cast<double>(all_.rows);
  if (classes_ > 0) evaluation.accuracy = all_.share(all_.first);
  if (classes_ > 5 && !areas) {
    evaluation.metrics.push_back({"top5_accuracy", all_.share(all_.within_five), "1",
                                  "Share of held-out images whose label is among the five largest logits."});
  }
  if (areas) {
    evaluation.metrics.push_back({"mean_iou", all_.mean_iou(), "1",
                                  "Intersection over union of predicted and true areas of the held-out images, mean "
                                  "over the classes."});
  }
  for (const auto& [name, sums] : sets_) {
    evaluation.sets.push_back({name, sums.loss / static_cast<double>(sums.rows),
                               classes_ > 0 ? sums.share(sums.first) : std::nan(""), sums.rows});
  }
  return evaluation;
}

}  // namespace rwkvlab
