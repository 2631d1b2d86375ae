#include "bench/data_bench.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "config/yaml_reader.h"
#include "kernels/parallel.h"

namespace rwkvlab {
namespace {

struct NamedData {
  const char *name, *kind, *parameters;
};

constexpr NamedData named[] = {
    {"arithmetic_text", "arithmetic_text", "{}"},
    {"associative_recall", "associative_recall",
     "{vocabulary_size: 8192, order: fresh, train: [{length: 256, pairs: 32}]}"},
    {"copying", "copying", "{order: fresh, train: [{count: 96, delay: 64}]}"},
    {"selective_copying", "selective_copying", "{order: fresh, train: [{count: 16, span: 240}]}"},
    {"induction_heads", "induction_heads", "{order: fresh, train: [{length: 256}]}"},
    {"listops", "listops", "{order: fresh, train: [{shortest: 128, longest: 255}]}"},
    {"needle", "needle", "{order: fresh, train: [{length: 256, needles: 4}]}"},
    {"state_tracking", "state_tracking", "{problem: s5, order: fresh, train: [{length: 256}]}"},
};

}  // namespace

std::vector<std::string> data_workload_names() {
  std::vector<std::string> names;
  for (const NamedData& data : named) names.emplace_back(data.name);
  return names;
}

TrainWorkload data_workload(const std::string& name) {
  for (const NamedData& data : named) {
    if (name != data.name) continue;
    TrainWorkload workload = train_workload("small");
    workload.name = name;
    workload.data =
        build_token_data(make_choice(data_slot, data.kind, parse_yaml(data.parameters, data.name)), DataSite{{}, 1});
    workload.model.vocabulary_size = workload.data->vocabulary();
    workload.l2wrap = 0;
    workload.context = 512;  // Tasks have their own length, up to this.
    if (workload.data->bytes_per_token() > 0) workload.context = 256;
    return workload;
  }
  throw ConfigError(fmt::format("unknown data '{}'; there are {}, or name an experiment file that ends in .yaml", name,
                                fmt::join(data_workload_names(), ", ")));
}

DataBenchRow bench_data(const TrainWorkload& workload, const TrainBenchOptions& options) {
  return {workload.name, kernels::threads(), time_data(workload, options)};
}

std::string text(const std::vector<DataBenchRow>& rows) {
  std::string result = fmt::format("{:<24}{:>8}{:>16}{:>22}{:>23}{:>13}\n", "data", "tokens", "ms per batch",
                                   "tokens/s of batches", "tokens/s of training", "of a step");
  for (const DataBenchRow& row : rows) {
    const DataTiming& t = row.timing;
    result += fmt::format("{:<24}{:>8.0f}{:>16.3f}{:>22.0f}{:>23.0f}{:>11.2f} %\n", row.name, t.tokens, 1e3 * t.batch,
                          t.tokens / t.batch, t.tokens / t.step, 100 * row.share());
  }
  return result;
}

nlohmann::json json(const std::vector<DataBenchRow>& rows) {
  nlohmann::json result = nlohmann::json::array();
  for (const DataBenchRow& row : rows) {
    result.push_back({{"name", row.name},
                      {"threads", row.threads},
                      {"tokens", row.timing.tokens},
                      {"batch_seconds", row.timing.batch},
                      {"step_seconds", row.timing.step},
                      {"batch_tokens_per_second", row.timing.tokens / row.timing.batch},
                      {"step_tokens_per_second", row.timing.tokens / row.timing.step},
                      {"share_of_step", row.share()}});
  }
  return result;
}

}  // namespace rwkvlab
