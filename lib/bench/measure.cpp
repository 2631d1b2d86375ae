#include "bench/measure.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "base/error.h"
#include "tensor/memory.h"

namespace rwkvlab {
namespace {

// Keeps the seconds per call of every repetition; prints nothing.
class Collector final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration || run.error_occurred) continue;
      seconds[run.run_name.function_name].push_back(run.real_accumulated_time / static_cast<double>(run.iterations));
    }
  }
  std::map<std::string, std::vector<double>> seconds;
};

}  // namespace

std::vector<Timing> measure(const std::vector<Candidate>& candidates, int repetitions, double seconds) {
  benchmark::ClearRegisteredBenchmarks();
  for (const Candidate& candidate : candidates) {
    benchmark::RegisterBenchmark(candidate.name.c_str(), [&candidate](benchmark::State& state) {
      for (auto iteration : state) candidate.run();
    })->UseRealTime();
  }
  std::vector<std::string> words = {"bench", "--benchmark_enable_random_interleaving=true",
                                    fmt::format("--benchmark_repetitions={}", repetitions),
                                    fmt::format("--benchmark_min_time={}", seconds)};
  std::vector<char*> arguments;
  arguments.reserve(words.size());
  for (std::string& word : words) arguments.push_back(word.data());
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  Collector collector;
  benchmark::RunSpecifiedBenchmarks(&collector);
  benchmark::ClearRegisteredBenchmarks();

  std::vector<Timing> timings;
  for (const Candidate& candidate : candidates) {
    std::vector<double> times = collector.seconds[candidate.name];
    if (times.empty()) throw Error(fmt::format("'{}' was not measured", candidate.name));
    std::sort(times.begin(), times.end());
    timings.push_back({candidate.name, times[times.size() / 2], times.front(), times.back()});
  }
  return timings;
}

void measure_into(const std::vector<Candidate>& candidates, const std::vector<double*>& seconds, int repetitions,
                  double at_least) {
  const std::vector<Timing> timings = measure(candidates, repetitions, at_least);
  for (std::size_t i = 0; i < timings.size(); ++i) *seconds[i] = timings[i].minimum;
}

double peak_tensors_of(std::int64_t before, const std::function<void()>& run) {
  run();
  reset_peak_memory();
  run();
  return static_cast<double>(memory_use().peak - before);
}

std::vector<std::int64_t> sorted_once(std::vector<std::int64_t> sizes) {
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

std::string conditions_text(const std::string& workload, int threads, const std::string& precision) {
  return fmt::format("{}, {} thread{}, {}", workload, threads, threads == 1 ? "" : "s", precision);
}

double peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stod(line.substr(6)) * 1024;
  }
  return 0;
}

}  // namespace rwkvlab
