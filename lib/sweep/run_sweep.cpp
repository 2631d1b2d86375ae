#include "sweep/run_sweep.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "record/run_file_reader.h"
#include "run/progress.h"
#include "run/run_folder.h"
#include "sweep/child_process.h"
#include "sweep/overview.h"

namespace rwkvlab {
namespace {
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

/// What stands in the log from `offset` on; at most its last 64 KiB.
std::string log_tail(const fs::path& folder, std::streamoff offset) {
  std::ifstream file(folder / "log.txt", std::ios::binary);
  file.seekg(0, std::ios::end);
  const std::streamoff end = file.tellg(), begin = std::max(offset, end - 65536);
  if (!file || begin >= end) return "";
  std::string text(static_cast<std::size_t>(end - begin), '\0');
  file.seekg(begin);
  file.read(text.data(), end - begin);
  return text;
}

std::streamoff log_size(const fs::path& folder) {
  std::error_code error;
  const auto size = fs::file_size(folder / "log.txt", error);
  return error ? 0 : static_cast<std::streamoff>(size);
}

/// The first (or last) line that holds `word`, from there on; "" when none does.
std::string line_with(const std::string& text, const std::string& word, bool is_last) {
  const std::size_t at = is_last ? text.rfind(word) : text.find(word);
  return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}

/// "eval/accuracy 0.9312": the newest value of the metric that the sweep is about.
std::string metric_text(const fs::path& folder, const SweepRecord& record) {
  std::vector<std::string> wanted;
  if (record.best_of) wanted.push_back(record.best_of->metric);
  wanted.insert(wanted.end(), record.table.metrics.begin(), record.table.metrics.end());
  wanted.insert(wanted.end(), {"eval/accuracy", "eval/loss", "train/loss"});
  try {
    const RunFileReader reader(folder / "run.h5");
    for (const std::string& metric : wanted) {
      if (!reader.has("metrics/" + metric)) continue;
      const ScalarSeries series = reader.scalars("metrics/" + metric);
      if (!series.values.empty()) return fmt::format("{} {:.4f}", metric, series.values.back());
    }
  } catch (const Error&) {
    // The run is done all the same.
  }
  return "no metric";
}

class Runner {
 public:
  Runner(const SweepFolder& folder, const SweepPlan& plan, const SweepOptions& options)
      : folder_(folder.path()), plan_(plan), options_(options), overview_(options.output) {
    for (const SweepRun& run : plan.record.runs) width_ = std::max(width_, run_name(run).size());
    width_ = std::min<std::size_t>(width_, 60);
  }

  SweepOutcome run() {
    collect();
    while (!children_.empty() || (!is_stopping() && next_ < waiting_.size())) {
      while (!is_stopping() && next_ < waiting_.size() && children_.size() < static_cast<std::size_t>(options_.jobs)) {
        start(*waiting_[next_]);
        ++next_;
      }
      reap();
      if (is_stopping() && !outcome_.was_interrupted) interrupt();
      draw();
      if (!children_.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    overview_.live({});
    outcome_.was_interrupted = is_stopping();
    outcome_.left += static_cast<int>(waiting_.size() - next_);
    conclude();
    return outcome_;
  }

 private:
  struct Child {
    const SweepRun* run;
    ChildProcess process;
    Clock::time_point started;
    std::streamoff log_begin;
  };

  static std::string run_name(const SweepRun& run) { return fmt::format("{}, seed {}", run.variant, run.seed); }
  bool is_stopping() const { return options_.stop != nullptr && *options_.stop; }

  void collect() {
    const std::vector<const SweepRun*> chosen = chosen_runs(plan_, options_.only);
    for (const SweepRun* const run : chosen) {
      const RunState state = run_state(folder_, *run);
      if (state == RunState::done) {
        ++outcome_.done;
      } else if (state == RunState::in_use) {
        skip(*run);
      } else {
        waiting_.push_back(run);
      }
    }
    total_ = chosen.size();
    threads_ = std::max(1, options_.threads / std::max(1, options_.jobs));
    overview_.line(fmt::format("sweep  {} -> {}", plan_.record.name, folder_.string()));
    overview_.line(fmt::format("runs   {} of {} to do, {} at a time with {} thread{} each", waiting_.size(), total_,
                               options_.jobs, threads_, threads_ == 1 ? "" : "s"));
  }

  void skip(const SweepRun& run) {
    ++outcome_.failed;
    overview_.line(fmt::format("skipped: another process is training {}", run_name(run)));
  }

  void start(const SweepRun& run) {
    const fs::path folder = folder_ / run.folder;
    make_directories(folder);
    const RunState state = run_state(folder_, run);
    if (state == RunState::in_use) return skip(run);  // Since collect().
    std::vector<std::string> words = {options_.program};
    for (std::string& word : run_arguments(folder_, plan_, run)) words.push_back(std::move(word));
    words.insert(words.end(), {"--threads", std::to_string(threads_), "--with-parent", std::to_string(getpid())});
    const std::streamoff log_begin = log_size(folder);
    children_.push_back({&run, ChildProcess(words, folder / "log.txt"), Clock::now(), log_begin});
    if (overview_.is_live()) return;
    report(state == RunState::missing ? "started" : "resumed", run, "");
  }

  void reap() {
    for (std::size_t i = 0; i < children_.size();) {
      if (!children_[i].process.has_ended()) {
        ++i;
        continue;
      }
      finished(children_[i], children_[i].process.wait());
      children_.erase(children_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  void finished(const Child& child, int code) {
    const fs::path folder = folder_ / child.run->folder;
    const double seconds = seconds_since(child.started);
    if (code == 0) {
      ++outcome_.done;
      ++timed_;
      seconds_ += seconds;
      const std::string left = left_text(children_.size() - 1);
      report("done", *child.run,
             fmt::format("{}  {}{}{}", metric_text(folder, plan_.record), duration_text(seconds),
                         left.empty() ? "" : "  about ", left));
    } else if (code == 130) {
      ++outcome_.left;
      report("interrupted", *child.run, "");
    } else {
      ++outcome_.failed;
      const std::string reason = reason_of(child, code);
      // One that could not have its folder says nothing about the run of the process that has it.
      if (!is_run_in_use(folder)) note_failure(folder, code == 4, reason);
      report(code == 4 ? "diverged" : "failed", *child.run, reason);
    }
  }

  std::string reason_of(const Child& child, int code) const {
    if (code < 0) return fmt::format("ended by signal {} ({})", -code, strsignal(-code));
    const std::string found = line_with(log_tail(folder_ / child.run->folder, child.log_begin), "error: ", false);
    return found.empty() ? fmt::format("exit code {}", code) : found.substr(std::strlen("error: "));
  }

  void interrupt() {
    outcome_.was_interrupted = true;
    overview_.line("interrupting: every run writes a checkpoint and ends; once more to end at once");
    for (const Child& child : children_) child.process.interrupt();
  }

  void report(const std::string& what, const SweepRun& run, const std::string& more) {
    const std::string place = fmt::format("[{}/{}]", outcome_.done + outcome_.failed, total_);
    std::string line = fmt::format("{:<9} {:<11} {:<{}}", place, what, run_name(run), width_);
    if (!more.empty()) line += "  " + more;
    while (line.ends_with(' ')) line.pop_back();
    overview_.line(line);
  }

  /// "3:20 left", from the mean of the runs that this process has finished.
  std::string left_text(std::size_t running) const {
    const std::size_t left = waiting_.size() - next_ + running;
    if (timed_ == 0 || left == 0) return "";
    const double rounds = std::ceil(static_cast<double>(left) / options_.jobs);
    return duration_text(rounds * seconds_ / timed_) + " left";
  }

  void draw() {
    if (!overview_.is_live() || seconds_since(drawn_) < 0.5) return;
    drawn_ = Clock::now();
    const std::string left = left_text(children_.size());
    std::vector<std::string> lines = {fmt::format("{} of {} done, {} failed, {} running, {} waiting{}{}", outcome_.done,
                                                  total_, outcome_.failed, children_.size(), waiting_.size() - next_,
                                                  left.empty() ? "" : ", about ", left)};
    for (const Child& child : children_) {
      lines.push_back(fmt::format("  {:<{}}  {}  {}", run_name(*child.run), width_,
                                  duration_text(seconds_since(child.started)), progress_of(child)));
    }
    overview_.live(std::move(lines));
  }

  /// The newest progress line of the run's log, without the path of a checkpoint.
  std::string progress_of(const Child& child) const {
    const std::string line = line_with(log_tail(folder_ / child.run->folder, child.log_begin), "  step ", true);
    return line.empty() ? "starting" : line.substr(2, line.find("  checkpoint ") - 2);
  }

  void conclude() {
    std::string text = fmt::format("{} of {} runs done", outcome_.done, total_);
    if (outcome_.failed > 0) text += fmt::format(", {} failed", outcome_.failed);
    if (outcome_.left > 0) text += fmt::format(", {} left", outcome_.left);
    overview_.line(text);
    if (outcome_.failed + outcome_.left > 0)
      overview_.line(fmt::format("what is missing runs with: rwkvlab run {} --resume", folder_.string()));
  }

  fs::path folder_;
  const SweepPlan& plan_;
  const SweepOptions& options_;
  Overview overview_;
  std::vector<const SweepRun*> waiting_;
  std::size_t next_ = 0, total_ = 0, width_ = 0;
  std::vector<Child> children_;
  SweepOutcome outcome_;
  int threads_ = 1;
  int timed_ = 0;
  double seconds_ = 0;
  Clock::time_point drawn_{};
};

}  // namespace

std::vector<const SweepRun*> chosen_runs(const SweepPlan& plan, const std::string& only) {
  std::vector<const SweepRun*> result;
  std::vector<std::string> labels;
  for (const SweepRun& run : plan.record.runs)
    if (only.empty() || matches_label(run.variant, only)) result.push_back(&run);
  if (!result.empty()) return result;
  for (const PlannedVariant& variant : plan.variants) labels.push_back(variant.label);
  throw ConfigError(fmt::format("--only: no variant matches {}{}. Variants: {}", quote(only),
                                did_you_mean(only, labels), join_names(labels)));
}

SweepOutcome run_sweep(const SweepFolder& folder, const SweepPlan& plan, const SweepOptions& options) {
  return Runner(folder, plan, options).run();
}

}  // namespace rwkvlab
