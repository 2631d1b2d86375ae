// Google Benchmark as a library: times functions against one another in one run.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace rwkvlab {

/// One thing to time.
struct Candidate {
  std::string name;
  std::function<void()> run;
};

/// Seconds per call of one candidate, over the repetitions.
struct Timing {
  std::string name;
  double median = 0;
  double minimum = 0;
  double maximum = 0;
};

/// Times the candidates, `repetitions` times each and in random turns, so that a machine whose speed drifts slows all
/// of them alike. Each repetition lasts at least `seconds`. Throws Error when a candidate was not measured.
std::vector<Timing> measure(const std::vector<Candidate>& candidates, int repetitions, double seconds);

/// The same; the least time of candidate i goes to `*seconds[i]`.
void measure_into(const std::vector<Candidate>& candidates, const std::vector<double*>& seconds, int repetitions,
                  double at_least);

/// The most bytes that tensors held, above `before`, while `run` ran a second time: the first time fills the pool of
/// buffers and makes what stays.
double peak_tensors_of(std::int64_t before, const std::function<void()>& run);

/// The sizes to measure at: rising, each once.
std::vector<std::int64_t> sorted_once(std::vector<std::int64_t> sizes);

/// "small, 2 threads, float32": what the numbers below it are of.
std::string conditions_text(const std::string& workload, int threads, const std::string& precision);

/// Largest resident memory of this process so far, in bytes; 0 where the system does not tell.
double peak_resident_bytes();

}  // namespace rwkvlab
