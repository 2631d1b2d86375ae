#include "bench/context_bench.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "bench/bench_training.h"
#include "bench/measure.h"
#include "kernels/parallel.h"

namespace rwkvlab {
namespace {

std::vector<std::int64_t> checked_contexts(const ContextBenchOptions& options) {
  const std::vector<std::int64_t> contexts = sorted_once(options.contexts);
  if (contexts.empty()) throw ConfigError("expected a context at least, found none");
  for (const std::int64_t context : contexts) {
    if (context >= 1 && options.tokens >= context && options.tokens % context == 0) continue;
    throw ConfigError(
        fmt::format("a context of {} tokens does not divide the {} tokens of a step; name another number of tokens",
                    context, options.tokens));
  }
  return contexts;
}

}  // namespace

ContextBenchReport bench_context(const TrainWorkload& workload, const ContextBenchOptions& options) {
  require_language_model(workload, "context");
  ContextBenchReport report;
  report.workload = workload.name;
  report.threads = kernels::threads();
  report.precision = precision_used(workload.precision);
  report.tokens = options.tokens;
  for (const std::int64_t context : checked_contexts(options)) {
    report.points.push_back({context, options.tokens / context, 0, 0});
  }

  const std::int64_t before = memory_use().live;
  BenchTraining training(workload);
  const auto step = [&](const ContextBenchPoint& point) {
    training.use_batches_of(static_cast<int>(point.batch), static_cast<int>(point.context));
    training.step();
  };
  std::vector<Candidate> candidates;
  std::vector<double*> results;
  for (ContextBenchPoint& point : report.points) {
    point.peak_tensors = peak_tensors_of(before, [&] { step(point); });
    candidates.push_back({std::to_string(point.context), [&] { step(point); }});
    results.push_back(&point.step);
  }
  measure_into(candidates, results, options.repetitions, options.seconds);
  return report;
}

std::string text(const std::vector<ContextBenchReport>& reports) {
  std::string out;
  for (const ContextBenchReport& report : reports) {
    out += fmt::format("{}, {} tokens a step\n", conditions_text(report.workload, report.threads, report.precision),
                       report.tokens);
    out += fmt::format("  {:>8} {:>6} {:>10} {:>10} {:>16} {:>10}\n", "context", "batch", "ms/step", "tokens/s",
                       fmt::format("of context {}", report.points.front().context), "MB");
    for (const ContextBenchPoint& point : report.points) {
      out += fmt::format("  {:>8} {:>6} {:>10.0f} {:>10.0f} {:>15.2f}x {:>10.0f}\n", point.context, point.batch,
                         point.step * 1e3, static_cast<double>(report.tokens) / point.step, report.slowdown(point),
                         point.peak_tensors * 1e-6);
    }
  }
  return out;
}

nlohmann::json json(const std::vector<ContextBenchReport>& reports) {
  nlohmann::json all = nlohmann::json::array();
  for (const ContextBenchReport& report : reports) {
    nlohmann::json points = nlohmann::json::array();
    for (const ContextBenchPoint& point : report.points) {
      points.push_back({{"context", point.context},
                        {"batch", point.batch},
                        {"step_seconds", point.step},
                        {"tokens_per_second", static_cast<double>(report.tokens) / point.step},
                        {"slowdown", report.slowdown(point)},
                        {"peak_tensor_bytes", point.peak_tensors}});
    }
    all.push_back({{"workload", report.workload},
                   {"threads", report.threads},
                   {"precision", report.precision},
                   {"tokens", report.tokens},
                   {"contexts", points}});
  }
  return all;
}

}  // namespace rwkvlab
