// How fast batches are made, beside how fast a small model is trained on them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bench/train_bench.h"

namespace rwkvlab {

/// The generated tasks that are measured by default: batches of 8 rows with about 256 tokens.
std::vector<std::string> data_workload_names();
/// RWKV-4 of the small workload on one of them. Throws ConfigError for another name.
TrainWorkload data_workload(const std::string& name);

struct DataBenchRow {
  std::string name;
  int threads = 0;
  DataTiming timing;

  /// Of making batches: how much of the time of a step goes to it.
  double share() const { return timing.batch / (timing.batch + timing.step); }
};

DataBenchRow bench_data(const TrainWorkload& workload, const TrainBenchOptions& options);

std::string text(const std::vector<DataBenchRow>& rows);
nlohmann::json json(const std::vector<DataBenchRow>& rows);

}  // namespace rwkvlab
