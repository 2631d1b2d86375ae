// Generation against reading the weights: a token can hardly come faster than its weights.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/train_bench.h"
#include "models/weight_format.h"

namespace rwkvlab {

struct GenerateBenchOptions {
  WeightFormat format = WeightFormat::float32;
  std::int64_t sequences = 1;                ///< that are continued together
  std::vector<std::int64_t> positions = {};  ///< tokens before the one that is timed; empty: 16
  int repetitions = 5;
  double seconds = 1.0;     ///< that one repetition lasts at least
  bool cumulative = false;  ///< tokens before a position come one by one and are timed; else they are read at once
};

/// A token behind so many others.
struct GenerateBenchPosition {
  std::int64_t position = 0;
  double token = 0;         ///< seconds per step: one token in every sequence
  double state_bytes = 0;   ///< of what is carried from token to token, all sequences together
  double peak_tensors = 0;  ///< bytes, the most that tensors held while the token came: weights, states, values
  std::optional<double> cumulative = {};  ///< seconds that all tokens before it took, one by one, from the first on
};

/// Times are the least of the repetitions, bytes are counted, not estimated.
struct GenerateBenchReport {
  std::string workload;
  std::string format;
  int threads = 0;
  std::int64_t sequences = 1;
  double weight_bytes = 0;  ///< that one step reads: the weights of all linear layers, head included
  double read = 0;          ///< seconds to read as many bytes in a row, by the same threads in the same run
  std::vector<GenerateBenchPosition> positions;
  double peak_resident = 0;  ///< of the process

  double bandwidth() const { return weight_bytes / read; }
  /// Of the bandwidth, what the weights are read at while tokens come.
  double share(const GenerateBenchPosition& at) const { return read / at.token; }
  /// How many times as long as at the first position a token takes.
  double slowdown(const GenerateBenchPosition& at) const { return at.token / positions.front().token; }
};

/// The workloads of train_workload(), and "rwkv7-0.1b", the model of configs/models/rwkv7_world_0b1.yaml.
TrainWorkload generate_workload(const std::string& name);
std::vector<std::string> generate_workload_names();

/// Measures steps of a model with initial weights, and the reading, in turns, with the threads that kernels are set to.
GenerateBenchReport bench_generate(const TrainWorkload& workload, const GenerateBenchOptions& options);

std::string text(const std::vector<GenerateBenchReport>& reports);
nlohmann::json json(const std::vector<GenerateBenchReport>& reports);

}  // namespace rwkvlab
