// Every kernel alone, beside what the machine could do at best.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bench/machine_limits.h"

namespace rwkvlab {

struct KernelBenchOptions {
  std::vector<std::string> names;  ///< patterns (`*`, `?`) or parts of the kernels' names; empty: all
  std::vector<int> threads;        ///< numbers of threads, one after the other
  int repetitions = 3;             ///< of each measurement
  double seconds = 0.02;           ///< that one repetition lasts at least
};

struct KernelTiming {
  std::string name;
  double seconds = 0;  ///< of one call, the least of the repetitions
  double flops = 0;    ///< of products and recurrences; 0 where memory is all that counts
  double bfloat16_flops = 0;
  double bytes = 0;          ///< that one call cannot but read and write
  double limit_seconds = 0;  ///< MachineLimits::seconds of these
  std::string series{};      ///< KernelCase::series
  double tokens = 0;
};

/// Everything with one number of threads.
struct KernelBenchReport {
  MachineLimits limits;  ///< measured in the same run
  std::vector<KernelTiming> kernels;
};

/// One report per number of threads; the number of threads is afterwards what it was. Throws ConfigError for a name
/// that no kernel has.
std::vector<KernelBenchReport> bench_kernels(const KernelBenchOptions& options);

std::string text(const std::vector<KernelBenchReport>& reports);
nlohmann::json json(const std::vector<KernelBenchReport>& reports);

}  // namespace rwkvlab
