#include "bench/kernel_bench.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "bench/kernel_cases.h"
#include "kernels/parallel.h"

namespace rwkvlab {
namespace {

bool is_named(const KernelCase& kernel, const std::string& word) {
  return matches_glob(kernel.name, word) || kernel.name.find(word) != std::string::npos;
}

std::vector<KernelCase> chosen(const std::vector<std::string>& words) {
  std::vector<KernelCase> cases = kernel_cases();
  for (const std::string& word : words) {
    if (std::any_of(cases.begin(), cases.end(), [&](const KernelCase& kernel) { return is_named(kernel, word); })) {
      continue;
    }
    std::vector<std::string> names;
    for (const KernelCase& kernel : cases) names.push_back(kernel.name);
    throw ConfigError(fmt::format("no kernel is called '{}'; there are {}", word, fmt::join(names, ", ")));
  }
  if (!words.empty()) {
    std::erase_if(cases, [&](const KernelCase& kernel) {
      return std::none_of(words.begin(), words.end(), [&](const std::string& word) { return is_named(kernel, word); });
    });
  }
  return cases;
}

// A kernel with its operands, ready to run.
struct Prepared {
  KernelOperands operands;
  std::function<void()> run;
};

KernelBenchReport measure_with(int threads, const std::vector<KernelCase>& cases, std::deque<Prepared>& prepared,
                               const KernelBenchOptions& options) {
  kernels::set_threads(threads);
  const LimitProbe probe;
  std::vector<Candidate> candidates = probe.candidates();
  const std::size_t first = candidates.size();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    prepared[i].run();  // Products are planned, scratch memory is there.
    candidates.push_back({cases[i].name, prepared[i].run});
  }
  const std::vector<Timing> timings = measure(candidates, options.repetitions, options.seconds);
  KernelBenchReport report;
  report.limits = LimitProbe::limits(timings, 0);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const KernelOperands& o = prepared[i].operands;
    if (cases[i].name.find("product") == std::string::npos) continue;
    report.limits.reached(o.flops(), o.bfloat16_flops() > 0, timings[first + i].minimum);
  }
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const KernelOperands& o = prepared[i].operands;
    report.kernels.push_back({cases[i].name, timings[first + i].minimum, o.flops(), o.bfloat16_flops(), o.bytes(),
                              report.limits.seconds(o.flops(), o.bfloat16_flops(), o.bytes()), cases[i].series,
                              cases[i].tokens});
  }
  return report;
}

// What a token costs in every case of a series, as a multiple of the first.
std::string series_text(const KernelBenchReport& report) {
  std::string result;
  std::set<std::string> done;
  for (const KernelTiming& first : report.kernels) {
    if (first.series.empty() || !done.insert(first.series).second) continue;
    std::vector<std::string> ratios;
    for (const KernelTiming& k : report.kernels) {
      if (k.series == first.series)
        ratios.push_back(fmt::format("{:.2f}", k.seconds / k.tokens / (first.seconds / first.tokens)));
    }
    if (ratios.size() > 1)
      result += fmt::format("  {}: time per token, of the first size: {}\n", first.series, fmt::join(ratios, ", "));
  }
  return result;
}

}  // namespace

std::vector<KernelBenchReport> bench_kernels(const KernelBenchOptions& options) {
  const std::vector<KernelCase> cases = chosen(options.names);
  std::deque<Prepared> prepared;  // Does not move its elements.
  for (const KernelCase& kernel : cases) {
    Prepared& next = prepared.emplace_back();
    next.run = kernel.prepare(next.operands);
  }
  const int before = kernels::threads();
  std::vector<KernelBenchReport> reports;
  for (const int threads : options.threads) reports.push_back(measure_with(threads, cases, prepared, options));
  kernels::set_threads(before);
  return reports;
}

std::string text(const std::vector<KernelBenchReport>& reports) {
  std::string result;
  for (const KernelBenchReport& report : reports) {
    result += text(report.limits);
    result += fmt::format("  {:<36}{:>11}{:>9}{:>9}{:>9}{:>8}{:>10}\n", "kernel", "µs", "MB", "MFLOP", "GFLOP/s",
                          "GB/s", "of limit");
    for (const KernelTiming& k : report.kernels) {
      const auto arithmetic = [&](double value, int digits) {
        return k.flops > 0 ? fmt::format("{:.{}f}", value, digits) : "-";
      };
      result += fmt::format("  {:<36}{:>10.1f}{:>9.2f}{:>9}{:>9}{:>8.1f}{:>8.0f} %\n", k.name, 1e6 * k.seconds,
                            1e-6 * k.bytes, arithmetic(1e-6 * k.flops, 0), arithmetic(1e-9 * k.flops / k.seconds, 1),
                            1e-9 * k.bytes / k.seconds, 100 * k.limit_seconds / k.seconds);
    }
    result += series_text(report);
  }
  return result;
}

nlohmann::json json(const std::vector<KernelBenchReport>& reports) {
  nlohmann::json result = nlohmann::json::array();
  for (const KernelBenchReport& report : reports) {
    nlohmann::json kernels = nlohmann::json::array();
    for (const KernelTiming& k : report.kernels) {
      kernels.push_back({{"name", k.name},
                         {"seconds", k.seconds},
                         {"flops", k.flops},
                         {"bfloat16_flops", k.bfloat16_flops},
                         {"bytes", k.bytes},
                         {"limit_seconds", k.limit_seconds},
                         {"limit_share", k.limit_seconds / k.seconds}});
      if (k.tokens > 0) kernels.back()["tokens"] = k.tokens;
    }
    result.push_back({{"limits", json(report.limits)}, {"kernels", std::move(kernels)}});
  }
  return result;
}

}  // namespace rwkvlab
