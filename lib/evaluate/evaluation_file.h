// Where results of evaluations stay: a run file of their own (docs/run_file.md), so that tables and figures can use
// them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "run/load_model.h"

namespace rwkvlab {

/// One number of an evaluation, the metric "eval/<name>".
struct EvaluatedMetric {
  std::string name;  ///< "lambada/accuracy"
  std::string unit;
  std::string description;
  double value = 0;
};

/// A row of numbers of an evaluation, /probes/eval/<name>.
struct EvaluatedCurve {
  std::string name;       ///< "text/loss_by_position"
  std::string dimension;  ///< "position"
  std::string unit;
  std::string description;
  std::vector<double> values;
};

struct EvaluationRecord {
  std::vector<EvaluatedMetric> metrics;
  std::vector<EvaluatedCurve> curves;
};

/// Writes an evaluation of `model` to `path`: a run file with the model's experiment, at the training step of its
/// weights. Results of other names that the file holds already, of the same experiment and step, are kept; others of
/// these names are replaced. Throws DataError when the file is no run file, or one that was not made by this function
/// for the same experiment and step; FileError when it cannot be written.
void record_evaluation(const std::filesystem::path& path, const TrainedModel& model, const EvaluationRecord& record);

/// The training step of the weights in a checkpoint; 0 for files that do not say.
std::int64_t trained_step(const std::filesystem::path& weights);

}  // namespace rwkvlab
