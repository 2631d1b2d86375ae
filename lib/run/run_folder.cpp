#include "run/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "config/resolve.h"
#include "config/yaml_reader.h"
#include "config/yaml_writer.h"
#include "run/environment.h"
#include "run/experiment.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

constexpr const char* resolved_name = "resolved.yaml";
constexpr const char* status_name = "status.json";

// A lock on the folder itself, which needs no file and disappears with the process, however it ends.
int lock_folder(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw FileError(fmt::format("cannot open the folder '{}': {}", path.string(), strerror(errno)));
  if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
  const int reason = errno;
  close(descriptor);
  if (reason == EWOULDBLOCK) {
    throw ConfigError(
        fmt::format("another process is training in '{}'; wait for it, stop it, or choose another folder "
                    "with --out",
                    path.string()));
  }
  throw FileError(fmt::format("cannot lock the folder '{}': {}", path.string(), strerror(reason)));
}

void refuse_used_folder(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return;
  if (!fs::is_directory(path, error)) {
    throw ConfigError(fmt::format("'{}' is a file; a run needs a folder. Choose another with --out", path.string()));
  }
  if (is_run_folder(path)) {
    throw ConfigError(
        fmt::format("there is a run in '{}' already; nothing was changed. Continue it with --resume, "
                    "choose another folder with --out, or remove it",
                    path.string()));
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(path, error)) {
    if (entry.path().filename() == "log.txt" || entry.path().filename() == status_name) continue;
    throw ConfigError(
        fmt::format("the folder '{}' holds other files; choose an empty or a new one with --out", path.string()));
  }
}

void collect_differences(const Node* before, const Node* now, const std::string& path, std::vector<std::string>& into) {
  if (before != nullptr && now != nullptr && before->is_map() && now->is_map()) {
    std::vector<std::string> keys;
    for (const MapEntry& entry : before->map()) keys.push_back(entry.key);
    for (const MapEntry& entry : now->map()) {
      if (before->find(entry.key) == nullptr) keys.push_back(entry.key);
    }
    for (const std::string& key : keys)
      collect_differences(before->find(key), now->find(key), path.empty() ? key : fmt::format("{}.{}", path, key),
                          into);
    return;
  }
  if (before != nullptr && now != nullptr && *before == *now) return;
  static const std::set<std::string> free = {"name", "train.checkpoint_every", "train.keep_checkpoints",
                                             "model.recompute", "model.recompute_layers"};
  if (free.count(path) != 0 || path.rfind("log.", 0) == 0) return;
  if (path == "train.steps" && before != nullptr && now != nullptr && now->integer() > before->integer()) return;
  const auto text = [](const Node* node) { return node == nullptr ? std::string("(absent)") : inline_yaml(*node); };
  into.push_back(fmt::format("{}: {} -> {}", path, text(before), text(now)));
}

}  // namespace

Node with_defaults(const Node& tree) {
  try {
    return resolve_as<Experiment>(tree, experiment_schema()).tree;
  } catch (const Error&) {
    return tree;
  }
}

std::vector<std::string> blocking_differences(const Node& before, const Node& now) {
  std::vector<std::string> differences;
  const Node old = with_defaults(before), young = with_defaults(now);
  collect_differences(&old, &young, "", differences);
  return differences;
}

std::optional<RunStatusReport> read_run_status(const fs::path& folder) noexcept {
  try {
    const auto json = nlohmann::json::parse(read_text(folder / status_name));
    return RunStatusReport{json.value("status", std::string()), json.value("step", std::int64_t{0}),
                           json.value("steps", std::int64_t{0}), json.value("message", std::string()),
                           json.value("tokens_per_second", 0.0)};
  } catch (const std::exception&) {
    return std::nullopt;  // A convenience; an old or damaged file must not stop a run.
  }
}

void write_run_status(const fs::path& folder, const RunStatusReport& report, const std::string& started) {
  nlohmann::ordered_json json;
  json["status"] = report.status;
  json["step"] = report.step;
  json["steps"] = report.steps;
  json["host"] = host_name();
  json["pid"] = getpid();
  json["started"] = started;
  json["updated"] = clock_text();
  if (report.tokens_per_second > 0) json["tokens_per_second"] = report.tokens_per_second;
  if (!report.message.empty()) json["message"] = report.message;
  write_atomically(folder / status_name,
                   json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

bool is_run_folder(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / resolved_name, ignored) || fs::exists(folder / "run.h5", ignored);
}

bool is_run_in_use(const fs::path& folder) noexcept {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return false;
  const bool is_locked = flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  close(descriptor);
  return is_locked;
}

RunFolder::RunFolder(fs::path path, int lock) : path_(std::move(path)), lock_(lock), started_(clock_text()) {}

RunFolder::RunFolder(RunFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)), started_(std::move(other.started_)) {}

RunFolder::~RunFolder() {
  if (lock_ >= 0) close(lock_);
}

RunFolder RunFolder::create(const fs::path& path, const std::string& resolved) {
  refuse_used_folder(path);
  make_directories(path);
  RunFolder folder(path, lock_folder(path));
  refuse_used_folder(path);  // Another process may have been faster.
  write_atomically(path / resolved_name, resolved);
  return folder;
}

RunFolder RunFolder::resume(const fs::path& path, const Node& tree) {
  if (!is_run_folder(path)) {
    throw ConfigError(fmt::format("--resume: there is no run in '{}'; leave out --resume to start one", path.string()));
  }
  RunFolder folder(path, lock_folder(path));
  remove_abandoned(path);
  std::error_code ignored;
  if (fs::exists(path / resolved_name, ignored)) {
    const Node before = parse_yaml(read_text(path / resolved_name), (path / resolved_name).string());
    const std::vector<std::string> differences = blocking_differences(before, tree);
    if (!differences.empty()) {
      std::string list;
      for (const std::string& line : differences) list += "\n  " + line;
      throw ConfigError(fmt::format(
          "--resume: the configuration differs from that of the run in '{}':{}\nOnly `log`, "
          "model.recompute, how often checkpoints are written, and a larger train.steps may change. Undo the "
          "changes, or start a new run with --out",
          path.string(), list));
    }
  }
  write_atomically(path / resolved_name, to_yaml(tree));
  return folder;
}

double RunFolder::recorded_speed() const noexcept {
  const std::optional<RunStatusReport> report = read_run_status(path_);
  return report ? report->tokens_per_second : 0;
}

void RunFolder::write_status(const RunStatusReport& report) const { write_run_status(path_, report, started_); }

void RunFolder::log(std::string_view line) const {
  std::ofstream file(path_ / "log.txt", std::ios::app);
  file << clock_text() << "  " << line << "\n";
}

}  // namespace rwkvlab
