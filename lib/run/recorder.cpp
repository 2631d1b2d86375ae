#include "run/recorder.h"

#include <algorithm>

#include "base/file.h"
#include "run/statistics.h"

namespace rwkvlab {
namespace {

constexpr std::string_view decay_name = "time_decay", spatial_decay_name = "spatial_decay";

bool is_named(const Parameter& parameter, std::string_view ending) {
  const std::string& name = parameter.name;
  return name.ends_with(ending) && (name.size() == ending.size() || name[name.size() - ending.size() - 1] == '.');
}

std::span<const float> floats(const Tensor& tensor) { return tensor.span<float>(); }

std::vector<std::string> split(std::string_view names) {
  std::vector<std::string> result;
  while (!names.empty()) {
    const std::size_t comma = std::min(names.find(','), names.size());
    result.emplace_back(names.substr(0, comma));
    names.remove_prefix(std::min(comma + 1, names.size()));
  }
  return result;
}

// Axis names for a shape; a probe may have named fewer or more.
std::vector<std::string> axes(std::string_view names, int rank) {
  std::vector<std::string> result = split(names);
  while (static_cast<int>(result.size()) > rank) result.pop_back();
  for (int i = static_cast<int>(result.size()); i < rank; ++i) result.push_back("axis" + std::to_string(i));
  return result;
}

std::vector<std::int64_t> sizes(const Shape& shape) { return {shape.sizes().begin(), shape.sizes().end()}; }

void write_statistics(RunFileWriter& writer, const std::string& path, std::int64_t step, const Tensor& value) {
  const Statistics s = statistics_of(floats(value));
  writer.statistic(path, "mean", step, s.mean);
  writer.statistic(path, "deviation", step, s.deviation);
  writer.statistic(path, "minimum", step, s.minimum);
  writer.statistic(path, "maximum", step, s.maximum);
  writer.statistic(path, "norm", step, s.norm);
  writer.statistic(path, "not_finite", step, static_cast<double>(s.not_finite));
}

}  // namespace

Recorder::Recorder(RunFileWriter writer, const LogParams& log, RecorderSite site)
    : writer_(std::move(writer)), log_(log), site_(std::move(site)) {
  writer_.declare_metric("train/loss", site_.unit.text(), "Mean loss of the step's batch, before the update.");
  writer_.declare_metric("train/learning_rate", "1", "Learning rate before the parameters' own scales.");
  writer_.declare_metric("train/gradient_norm", "1", "Norm of all gradients before clipping.");
  writer_.declare_metric("train/tokens_seen", site_.unit.read, "Tokens trained on so far; of image data, images.");
  if (log_.speed)
    writer_.declare_metric("train/tokens_per_second", site_.unit.read + " per second", "Speed of the step.");
  writer_.declare_metric("eval/loss", site_.unit.text(), "Mean loss on the held-out data.");
  writer_.declare_metric("eval/bits_per_byte", "bits per byte",
                         "Total cross-entropy on the held-out data over the bytes of its text.");
  writer_.declare_metric("eval/bits_per_character", "bits per character",
                         "Total cross-entropy on the held-out data over the UTF-8 characters of its text.");
  writer_.declare_metric(
      "eval/accuracy", "1",
      "Share of counted held-out tokens, images or pixels whose target has the largest logit; of tokens, the "
      "mean over the rows.");
}

Recorder::~Recorder() = default;

void Recorder::started(std::int64_t step, std::int64_t steps) {
  last_step_ = steps;
  if (step == 0) record_parameters(0);
}

ProbeSink* Recorder::probes_for(std::int64_t step) {
  probed_step_ = step;
  probed_.clear();
  const bool any = std::any_of(log_.probes.begin(), log_.probes.end(),
                               [step](const ProbeParams& probe) { return is_due(probe.every, step); });
  return any ? this : nullptr;
}

bool Recorder::is_wanted(const ProbeParams& wanted, const std::string& path) const {
  return is_due(wanted.every, probed_step_) && matches_glob(path, wanted.match);
}

bool Recorder::wants(const std::string& path) const {
  return std::any_of(log_.probes.begin(), log_.probes.end(),
                     [&](const ProbeParams& wanted) { return is_wanted(wanted, path); });
}

void Recorder::probe(const std::string& path, const Var& value, std::string_view dimensions) {
  for (const ProbeParams& wanted : log_.probes) {
    if (!is_wanted(wanted, path)) continue;
    // Entries may overlap; a path is recorded once in each form.
    if (probed_.insert(wanted.as + ":" + path).second) record_probe(wanted, path, value.value(), dimensions);
  }
}

void Recorder::record_probe(const ProbeParams& wanted, const std::string& path, const Tensor& value,
                            std::string_view dimensions) {
  if (wanted.as == "raw") {
    writer_.tensor(TensorGroup::probes, path, probed_step_, floats(value),
                   {sizes(value.shape()), axes(dimensions, value.shape().rank()), "1", "Value in the forward pass."});
  } else if (wanted.as == "histogram") {
    const Histogram histogram = histogram_of(floats(value), wanted.bins);
    writer_.histogram(path, probed_step_, histogram.edges, histogram.counts, "1", "Finite values in the forward pass.");
  } else {
    write_statistics(writer_, path, probed_step_, value);
  }
}

bool Recorder::wants_state(std::int64_t step) { return is_due(log_.states_every, step); }

void Recorder::state_at(std::int64_t step, const State& state) {
  for (const auto& [name, value] : state.pieces()) {
    const Tensor first = value.value().rows(0, 1);
    std::vector<std::int64_t> shape = sizes(first.shape());
    shape.erase(shape.begin());
    const auto rank = static_cast<int>(shape.size());
    writer_.tensor(TensorGroup::states, name, step, floats(first),
                   {shape, axes(rank == 1 ? "channel" : "row,channel", rank), "1",
                    "State after the last token of the first sequence of the batch."});
  }
}

void Recorder::step_finished(const StepReport& report, const Module& /*model*/) {
  if (report.step == 1 || report.step == last_step_ || is_due(log_.every, report.step)) {
    writer_.metric("train/loss", report.step, report.loss);
    writer_.metric("train/learning_rate", report.step, report.learning_rate);
    writer_.metric("train/gradient_norm", report.step, report.gradient_norm);
    writer_.metric("train/tokens_seen", report.step, static_cast<double>(report.tokens_seen));
    if (log_.speed && report.seconds > 0) {
      writer_.metric("train/tokens_per_second", report.step, static_cast<double>(report.tokens) / report.seconds);
    }
  }
  record_parameters(report.step);
  writer_.note_step(report.step);
  // A resumed run drops what lies behind its checkpoint, so everything up to a checkpoint must be on the disk first.
  if (is_due(site_.checkpoint_every, report.step)) {
    writer_.flush();
  } else {
    writer_.maybe_flush();
  }
}

void Recorder::record_parameters(std::int64_t step) {
  // What is recorded at all is recorded of the finished model too.
  const auto wanted = [&](std::int64_t every) { return is_due(every, step) || (every > 0 && step == last_step_); };
  const bool decays = wanted(log_.decays_every), statistics = wanted(log_.statistics_every);
  if (!decays && !statistics) return;
  for (const Parameter* const parameter : site_.model->parameters()) {
    const Tensor& value = parameter->var.value();
    if (statistics) write_statistics(writer_, parameter->name, step, value);
    const bool is_spatial = is_named(*parameter, spatial_decay_name);
    if (decays && (is_spatial || is_named(*parameter, decay_name))) {
      writer_.tensor(
          TensorGroup::decay, parameter->name, step, floats(value),
          {{value.elements()},
           {"channel"},
           "1",
           is_spatial ? "Raw spatial decay w; among T tokens, each one further away counts exp(-w / T)."
                      : "Raw time decay w; a token decays by exp(-exp(w)), in RWKV-6 by exp(-exp(w + what it "
                        "adds))."});
    }
  }
}

void Recorder::record_by_position(const std::string& path, std::int64_t step, const std::vector<double>& values,
                                  const char* unit, const char* description) {
  if (values.empty()) return;
  const std::vector<float> record(values.begin(), values.end());
  writer_.tensor(TensorGroup::probes, path, step, record,
                 {{static_cast<std::int64_t>(record.size())}, {"position"}, unit, description});
}

void Recorder::evaluation_finished(std::int64_t step, const Evaluation& evaluation, double /*seconds*/) {
  writer_.metric("eval/loss", step, evaluation.loss);
  if (evaluation.bytes > 0) writer_.metric("eval/bits_per_byte", step, evaluation.bits_per_byte);
  if (evaluation.bits_per_character > 0) writer_.metric("eval/bits_per_character", step, evaluation.bits_per_character);
  if (evaluation.accuracy) writer_.metric("eval/accuracy", step, *evaluation.accuracy);
  for (const EvaluatedSet& set : evaluation.sets) {
    const std::string loss = "eval/" + set.name + "/loss", accuracy = "eval/" + set.name + "/accuracy";
    writer_.declare_metric(loss, site_.unit.text(), "Mean loss on this set of held-out examples.");
    writer_.declare_metric(accuracy, "1", "Accuracy on this set of held-out examples.");
    writer_.metric(loss, step, set.loss);
    if (evaluation.accuracy) writer_.metric(accuracy, step, set.accuracy);
  }
  for (const HeldOutMetric& metric : evaluation.metrics) {
    writer_.declare_metric("eval/" + metric.name, metric.unit, metric.description);
    writer_.metric("eval/" + metric.name, step, metric.value);
  }
  record_by_position("eval/loss_by_position", step, evaluation.loss_by_position, "nats per token",
                     "Mean cross-entropy on the held-out data at each position of the context.");
  record_by_position("eval/accuracy_by_position", step, evaluation.accuracy_by_position, "1",
                     "Share of right answers on the held-out data at each position of the context.");
  writer_.flush();
}

void Recorder::checkpoint_written(std::int64_t /*step*/, const std::filesystem::path& /*checkpoint*/) {
  writer_.flush();
}

}  // namespace rwkvlab
