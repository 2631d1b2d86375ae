#include "sweep/sweep_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "config/yaml_writer.h"
#include "run/environment.h"
#include "run/run_folder.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;

int open_folder(const fs::path& path, int flags) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_DIRECTORY | flags);
  if (descriptor < 0) throw FileError(fmt::format("cannot open the folder '{}': {}", path.string(), strerror(errno)));
  return descriptor;
}

bool try_lock(int descriptor, const fs::path& path) {
  if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  throw FileError(fmt::format("cannot lock the folder '{}': {}", path.string(), strerror(errno)));
}

}  // namespace

std::string_view to_string(RunState state) {
  static constexpr std::string_view names[] = {"missing", "interrupted", "failed", "diverged", "in use", "done"};
  return names[static_cast<int>(state)];
}

RunState run_state(const fs::path& sweep, const SweepRun& run) {
  const fs::path folder = sweep / run.folder;
  if (is_run_in_use(folder)) return RunState::in_use;
  const std::optional<RunStatusReport> report = read_run_status(folder);
  if (report && report->status == "failed") return RunState::failed;
  if (!is_run_folder(folder)) return RunState::missing;
  if (report && report->status == "diverged") return RunState::diverged;
  // Also of a run that ended before its last step, because it had reached its goal.
  return report && report->status == "done" ? RunState::done : RunState::interrupted;
}

fs::path variant_file(const fs::path& sweep, const PlannedVariant& variant) {
  return sweep / "experiments" / (variant.folder + ".yaml");
}

std::vector<std::string> run_arguments(const fs::path& sweep, const SweepPlan& plan, const SweepRun& run) {
  std::vector<std::string> words = {"run",          variant_file(sweep, plan.variant_of(run)).string(),
                                    "--set",        fmt::format("seed={}", run.seed),
                                    "--out",        (sweep / run.folder).string(),
                                    "--no-figures", "--quiet"};
  if (is_run_folder(sweep / run.folder)) words.emplace_back("--resume");
  return words;
}

void note_failure(const fs::path& run_folder, bool has_diverged, const std::string& reason) {
  RunStatusReport report = read_run_status(run_folder).value_or(RunStatusReport{});
  if (report.status == "failed" || report.status == "diverged") return;
  report.status = has_diverged ? "diverged" : "failed";
  report.message = reason;
  write_run_status(run_folder, report, clock_text());
}

SweepFolder::SweepFolder(fs::path path) : path_(std::move(path)) {}

SweepFolder::SweepFolder(SweepFolder&& other) noexcept
    : path_(std::move(other.path_)),
      own_lock_(std::exchange(other.own_lock_, -1)),
      shared_lock_(std::exchange(other.shared_lock_, -1)) {}

SweepFolder::~SweepFolder() {
  for (const int descriptor : {own_lock_, shared_lock_})
    if (descriptor >= 0) close(descriptor);
}

void SweepFolder::lock() {
  own_lock_ = open_folder(path_, O_CLOEXEC);
  if (!try_lock(own_lock_, path_)) {
    throw ConfigError(
        fmt::format("another process is running the sweep in '{}'; wait for it, stop it, or choose "
                    "another folder with --out",
                    path_.string()));
  }
  const fs::path runs = path_ / "runs";
  make_directories(runs);
  shared_lock_ = open_folder(runs, 0);
  // Runs whose sweep was killed write a checkpoint and end; a step may be long.
  constexpr int attempts = 600;
  for (int i = 0; !try_lock(shared_lock_, runs); ++i) {
    if (i == attempts) {
      throw ConfigError(fmt::format("runs of an earlier process are still at work in '{}'; wait for them or stop them",
                                    runs.string()));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

void SweepFolder::write(const SweepPlan& plan) const {
  make_directories(path_ / "experiments");
  for (const PlannedVariant& variant : plan.variants) {
    std::string label = variant.label;
    for (char& c : label)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    write_atomically(variant_file(path_, variant), fmt::format("# Variant: {}\n{}", label, to_yaml(variant.file)));
  }
  write_sweep_record(path_, plan.record);
}

SweepFolder SweepFolder::create(const fs::path& path, const SweepPlan& plan) {
  std::error_code error;
  if (is_sweep_folder(path)) {
    throw ConfigError(
        fmt::format("there is a sweep in '{}' already; nothing was changed. Run what is missing with "
                    "--resume, choose another folder with --out, or remove it",
                    path.string()));
  }
  if (fs::exists(path, error) && (!fs::is_directory(path, error) || !fs::is_empty(path, error))) {
    throw ConfigError(fmt::format("'{}' is {}; a sweep needs an empty or a new folder. Choose another with --out",
                                  path.string(), is_run_folder(path) ? "the folder of a single run" : "there already"));
  }
  make_directories(path);
  SweepFolder folder(path);
  folder.lock();
  folder.write(plan);
  return folder;
}

SweepFolder SweepFolder::resume(const fs::path& path, SweepPlan& plan) {
  if (!is_sweep_folder(path)) {
    throw ConfigError(
        is_run_folder(path)
            ? fmt::format("--resume: '{}' is the folder of a single run, and this file is a sweep; give the sweep a "
                          "folder of its own with --out",
                          path.string())
            : fmt::format("--resume: there is no sweep in '{}'; leave out --resume to start one", path.string()));
  }
  continue_sweep(plan, read_sweep_record(path));
  SweepFolder folder(path);
  folder.lock();
  folder.write(plan);
  return folder;
}

}  // namespace rwkvlab
