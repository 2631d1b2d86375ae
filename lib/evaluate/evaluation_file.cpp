#include "evaluate/evaluation_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "config/yaml_reader.h"
#include "config/yaml_writer.h"
#include "kernels/parallel.h"
#include "record/run_file_reader.h"
#include "record/run_file_writer.h"
#include "run/environment.h"
#include "run/run_folder.h"

namespace rwkvlab {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view metric_prefix = "metrics/eval/";
constexpr std::string_view curve_prefix = "probes/eval/";

template <class Entry>
bool has_name(const std::vector<Entry>& entries, const std::string& name) {
  return std::any_of(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.name == name; });
}

// What an evaluation file holds besides what `record` replaces.
EvaluationRecord kept(const fs::path& path, const std::string& config, std::int64_t step,
                      const EvaluationRecord& record) {
  const RunFileReader reader(path);
  const auto refuse = [&](const std::string& what) {
    throw DataError(fmt::format("'{}' {}; write the evaluation to another file", path.string(), what));
  };
  // Results of an older version of the program lack its newer keys.
  const auto resolved = [](const std::string& text) { return to_yaml(with_defaults(parse_yaml(text, "config"))); };
  if (reader.config() != config && resolved(reader.config()) != resolved(config)) {
    refuse("holds results of another experiment");
  }
  EvaluationRecord result;
  for (const SeriesInfo& info : reader.list()) {
    if (info.records != 1 || reader.steps(info.path).front() != step) refuse("holds results of other training steps");
    if (info.path.starts_with(metric_prefix) && info.kind == SeriesKind::scalar) {
      const std::string name = info.path.substr(metric_prefix.size());
      if (has_name(record.metrics, name)) continue;
      result.metrics.push_back({name, info.unit, info.description, reader.scalars(info.path).values.front()});
    } else if (info.path.starts_with(curve_prefix) && info.kind == SeriesKind::tensor && info.shape.size() == 1) {
      const std::string name = info.path.substr(curve_prefix.size());
      if (has_name(record.curves, name)) continue;
      const std::vector<float> values = reader.tensor(info.path).values;
      result.curves.push_back(
          {name, info.dimensions.front(), info.unit, info.description, {values.begin(), values.end()}});
    } else {
      refuse("is the run file of a training");
    }
  }
  return result;
}

}  // namespace

void record_evaluation(const fs::path& path, const TrainedModel& model, const EvaluationRecord& record) {
  const std::string config = model.loaded.text();
  const std::int64_t step = trained_step(model.file);
  EvaluationRecord all;
  std::error_code ignored;
  if (fs::exists(path, ignored)) all = kept(path, config, step, record);
  all.metrics.insert(all.metrics.end(), record.metrics.begin(), record.metrics.end());
  all.curves.insert(all.curves.end(), record.curves.begin(), record.curves.end());
  const auto environment = environment_now(model.loaded.experiment.seed, kernels::threads());
  RunFileWriter writer = RunFileWriter::create(path, config, environment);
  for (const EvaluatedMetric& metric : all.metrics) {
    const std::string name = "eval/" + metric.name;
    writer.declare_metric(name, metric.unit, metric.description);
    writer.metric(name, step, metric.value);
  }
  for (const EvaluatedCurve& curve : all.curves) {
    const std::vector<float> values(curve.values.begin(), curve.values.end());
    writer.tensor(TensorGroup::probes, "eval/" + curve.name, step, values,
                  {{static_cast<std::int64_t>(values.size())}, {curve.dimension}, curve.unit, curve.description});
  }
  writer.note_step(step);
  writer.close(RunStatus::done);
}

std::int64_t trained_step(const fs::path& weights) {
  const TensorFile file = open_tensor_file(weights);
  const auto found = file.metadata().find("step");
  std::int64_t step = 0;
  if (found != file.metadata().end()) {
    const char* const begin = found->second.data();
    std::from_chars(begin, begin + found->second.size(), step);
  }
  return std::max<std::int64_t>(step, 0);
}

}  // namespace rwkvlab
