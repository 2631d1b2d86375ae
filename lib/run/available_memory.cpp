#include "run/available_memory.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

#include "config/diagnostics.h"
#include "models/language_model.h"
#include "train/tuning.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

// The number in a file that holds nothing else; none for "max" and for a file that cannot be read.
std::optional<std::int64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

// The number behind `name` in lines such as "MemAvailable:  1234 kB".
std::optional<std::int64_t> number_after(const fs::path& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    std::int64_t value = 0;
    if (words >> word >> value && word == name) return value;
  }
  return std::nullopt;
}

// What one control group leaves. Pages of files are given back when memory is short.
std::optional<std::int64_t> left_in_group(const fs::path& group, const char* limit_name, const char* use_name,
                                          const std::string& prefix) {
  const auto limit = number_in(group / limit_name), use = number_in(group / use_name);
  if (!limit || !use) return std::nullopt;
  const std::int64_t cached = number_after(group / "memory.stat", prefix + "inactive_file").value_or(0) +
                              number_after(group / "memory.stat", prefix + "active_file").value_or(0);
  return std::max<std::int64_t>(*limit - *use + cached, 0);
}

// The least that the group of this process and those above it leave, in version 2 ("0::/path") or 1 ("4:memory:/path").
std::optional<std::int64_t> left_in_groups(const fs::path& root) {
  std::ifstream file(root / "proc/self/cgroup");
  std::optional<std::int64_t> least;
  for (std::string line; std::getline(file, line);) {
    const bool is_second = line.starts_with("0::");
    const std::size_t memory = line.find(":memory:");
    if (!is_second && memory == std::string::npos) continue;
    const fs::path top = root / (is_second ? "sys/fs/cgroup" : "sys/fs/cgroup/memory");
    fs::path below = fs::path(line.substr(is_second ? 3 : memory + 8)).relative_path();
    while (true) {
      const auto left = is_second
                            ? left_in_group(top / below, "memory.max", "memory.current", "")
                            : left_in_group(top / below, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_");
      if (left) least = std::min(*left, least.value_or(*left));
      if (below.empty()) break;
      below = below.parent_path();
    }
  }
  return least;
}

std::optional<std::int64_t> left_of_address_space(const fs::path& root) {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  const auto whole = static_cast<std::int64_t>(
      std::min<rlim_t>(limit.rlim_cur, static_cast<rlim_t>(std::numeric_limits<std::int64_t>::max())));
  const std::int64_t used = number_in(root / "proc/self/statm").value_or(0) * sysconf(_SC_PAGESIZE);
  return std::max<std::int64_t>(whole - used, 0);
}

}  // namespace

AvailableMemory available_memory(const fs::path& root) {
  AvailableMemory result{std::numeric_limits<std::int64_t>::max(), "nothing"};
  const auto limit = [&result](std::optional<std::int64_t> bytes, const char* name) {
    if (bytes && *bytes < result.bytes) result = {*bytes, name};
  };
  if (const auto free = number_after(root / "proc/meminfo", "MemAvailable:")) {
    constexpr std::int64_t kibibyte = 1024;
    limit((*free + number_after(root / "proc/meminfo", "SwapFree:").value_or(0)) * kibibyte,
          "free memory and swap of this machine");
  }
  limit(left_in_groups(root), "memory limit of the control group");
  limit(left_of_address_space(root), "limit of the address space, ulimit -v");
  return result;
}

DescribeOptions describe_options(Module& model, const TrainParams& train) {
  DescribeOptions options;
  options.batch = train.batch;
  options.context = train.context;
  options.precision = train.precision;
  options.keeps_gradients = train.accumulate > 1;
  options.trained_parameters = 0;
  const auto tuning = make_tuning(train.tune, {&model, train.parameter_policy()});
  for (const TrainedParameter& trained : tuning->parameters())
    options.trained_parameters += trained.parameter->shape.elements();
  for (const Parameter* const parameter : tuning->frozen()) options.frozen.insert(parameter->name);
  options.elements_beside_model = tuning->elements_beside_model();
  return options;
}

void refuse_beyond_memory(const LoadedExperiment& loaded, Module& model, const AvailableMemory& available) {
  const TrainParams& train = loaded.experiment.train;
  const TrainingMemory needed = describe_model(model, describe_options(model, train)).memory;
  if (needed.total() <= available.bytes) return;
  const MapEntry* const entry = loaded.tree.find_entry("model");
  throw_problem(
      entry == nullptr ? loaded.tree.place() : entry->place,
      fmt::format("this training needs {} of memory at its peak, and {} are available ({})", bytes_text(needed.total()),
                  bytes_text(available.bytes), available.limited_by),
      fmt::format("parameters {}, optimiser {}, activations and gradients {}. Lower train.batch (now {}; "
                  "train.accumulate makes up for it), {}, model.layers or model.width",
                  bytes_text(needed.parameters), bytes_text(needed.optimizer), bytes_text(needed.peak), train.batch,
                  dynamic_cast<const LanguageModel*>(&model) == nullptr
                      ? std::string("the size of the images")
                      : fmt::format("train.context (now {})", train.context)));
}

}  // namespace rwkvlab
