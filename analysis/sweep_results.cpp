#include "analysis/sweep_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "analysis/sweep_membership.h"
#include "base/error.h"
#include "base/file.h"
#include "config/yaml_reader.h"
#include "run/recorded_run.h"
#include "run/run_folder.h"
#include "sweep/axes.h"

namespace rwkvlab {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view metrics_prefix = "metrics/";

ResultState state_of(std::string_view status) {
  if (status == "done") return ResultState::done;
  if (status == "running") return ResultState::running;
  if (status == "interrupted") return ResultState::interrupted;
  return ResultState::failed;
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

nlohmann::json parsed_status(const fs::path& path) {
  try {
    return nlohmann::json::parse(read_text(path), nullptr, false);
  } catch (const Error&) {
    return {};
  }
}

// status.json knows of failures that the run file does not; without it the run file is believed.
void read_status(ComparedRun& run, std::vector<std::string>& notes) {
  const fs::path path = run.folder / "status.json";
  if (!is_there(path)) return;
  const auto json = parsed_status(path);
  if (!json.is_object() || !json.contains("status") || !json["status"].is_string()) {
    notes.push_back(
        fmt::format("{}/status.json cannot be read and is left out; the run file says how far the run is.", run.name));
    return;
  }
  const std::string status = json["status"];
  run.state = state_of(status);
  if (json.contains("tokens_per_second") && json["tokens_per_second"].is_number()) {
    run.tokens_per_second = json["tokens_per_second"];
  }
  if (json.contains("step") && json["step"].is_number_integer())
    run.steps = std::max<std::int64_t>(run.steps, json["step"]);
  if (run.state != ResultState::failed) return;
  run.message = json.contains("message") && json["message"].is_string() ? json["message"].get<std::string>() : status;
  // The first sentence: the rest is advice.
  run.message = run.message.substr(0, std::min(run.message.find('\n'), run.message.find(". ")));
  if (status == "diverged" && run.message.find("diverged") == std::string::npos)
    run.message = "diverged: " + run.message;
}

// What `rwkvlab eval` measured of the weights that the run ended with.
void read_evaluations(ComparedRun& run, std::int64_t last_step, std::vector<std::string>& notes) {
  const fs::path path = run.folder / "eval.h5";
  if (!is_there(path)) return;
  try {
    const RunFileReader reader(path);
    if (reader.last_step() != last_step) {
      notes.push_back(fmt::format("{}/eval.h5 is of step {} and left out; the run is at step {}: evaluate it again.",
                                  run.name, reader.last_step(), last_step));
      return;
    }
    for (SeriesInfo& info : reader.list(metrics_prefix)) {
      const std::string name = info.path.substr(metrics_prefix.size());
      if (info.kind != SeriesKind::scalar || info.records == 0 || run.metrics.count(name) != 0) continue;
      run.metrics.emplace(name, std::move(info));
      run.evaluated.insert(name);
    }
  } catch (const Error& error) {
    notes.push_back(fmt::format("{}/eval.h5 cannot be read and is left out: {}", run.name, error.what()));
  }
}

void read_run(ComparedRun& run, std::vector<std::string>& notes) {
  if (is_there(run.run_file)) {
    const RunFileReader reader(run.run_file);
    run.state = state_of(to_string(reader.status()));
    if (run.state == ResultState::failed) run.message = "diverged";
    run.config = parse_yaml(reader.config(), run.run_file.string() + ":/config");
    for (SeriesInfo& info : reader.list(metrics_prefix)) {
      if (info.kind != SeriesKind::scalar || info.records == 0) continue;
      const std::string name = info.path.substr(metrics_prefix.size());
      if (run.steps == 0 && name.starts_with("train/")) run.steps = reader.steps(info.path).back();
      run.metrics.emplace(name, std::move(info));
    }
    if (run.run_file == run.folder / "run.h5") read_evaluations(run, reader.last_step(), notes);
  }
  if (run.run_file == run.folder / "run.h5") read_status(run, notes);
}

// -- runs of a sweep ----------------------------------------------------------------------------------------------

// One damaged file costs its own run, not the table of the whole sweep.
void read_run_of_sweep(ComparedRun& run, std::vector<std::string>& notes) {
  try {
    read_run(run, notes);
  } catch (const Error& error) {
    run.config = Node();
    run.metrics.clear();
    // A file that is being written may be unreadable for a moment.
    run.state = is_run_in_use(run.folder) ? ResultState::running : ResultState::failed;
    if (run.state == ResultState::running) return;
    run.message = "run.h5 cannot be read";
    const std::string reason = error.what();
    notes.push_back(fmt::format("{}{} Remove the folder {} and run the sweep again with --resume.", reason,
                                reason.ends_with('.') ? "" : ".", run.name));
  }
}

// Runs of a sweep that was continued with another number of steps.
void note_steps(SweepResults& results, const std::vector<SweepRun>& runs) {
  for (const SweepRun& run : runs) {
    if (!run.settings.is_map()) continue;
    for (const MapEntry& entry : run.settings.map()) {
      if (covers(entry.key, "train.steps")) return;
    }
  }
  std::map<std::int64_t, std::string> first;
  for (const ComparedRun& run : results.runs) {
    const Node* const steps = run.config.find_path("train.steps");
    if (run.is_done() && steps != nullptr) first.emplace(steps->integer(), run.name);
  }
  if (first.size() < 2) return;
  std::vector<std::string> texts;
  for (const auto& [steps, name] : first) texts.push_back(fmt::format("{} ({})", steps, name));
  results.notes.push_back("The runs trained different numbers of steps: " + list_text(texts) + ".");
}

SweepResults read_sweep(const fs::path& folder) {
  SweepRecord record = read_sweep_record(folder);
  SweepResults results;
  results.name = record.name;
  results.is_sweep = true;
  results.axes = record.axes;
  results.best_of = record.best_of;
  results.table = record.table;
  MembershipCheck membership(folder);
  for (SweepRun& run : record.runs) {
    ComparedRun& result = results.runs.emplace_back();
    result.folder = folder / run.folder;
    result.run_file = result.folder / "run.h5";
    result.name = run.folder.generic_string();
    result.variant = run.variant;
    result.axes = run.axes;
    result.seed = run.seed;
    read_run_of_sweep(result, results.notes);
    membership.require(result, run);
  }
  note_steps(results, record.runs);
  return results;
}

// -- single runs --------------------------------------------------------------------------------------------------

void add_single(SweepResults& results, const fs::path& run_file, const std::string& name) {
  ComparedRun& run = results.runs.emplace_back();
  run.run_file = run_file;
  run.folder = run_file.parent_path();
  run.name = name;
  read_run(run, results.notes);
  if (const Node* const seed = run.config.find("seed")) {
    run.seed = seed->is_unsigned_integer() ? seed->unsigned_integer() : static_cast<std::uint64_t>(seed->integer());
  }
}

void add_source(SweepResults& results, const fs::path& given) {
  std::error_code error;
  if (!fs::exists(given, error)) throw DataError(missing_file_text(given));
  const fs::path source = recorded_run(given);
  if (!fs::is_directory(source, error)) return add_single(results, source, source.generic_string());
  if (is_there(source / "run.h5")) return add_single(results, source / "run.h5", source.generic_string());
  if (!is_sweep_folder(source)) {
    throw DataError(fmt::format("'{}' is neither a sweep folder (with sweep.yaml) nor a run folder (with run.h5).",
                                source.string()));
  }
  int waiting = 0;
  for (const SweepRun& run : read_sweep_record(source).runs) {
    const fs::path folder = source / run.folder;
    if (is_there(folder / "run.h5")) {
      add_single(results, folder / "run.h5", folder.generic_string());
    } else {
      ++waiting;
    }
  }
  if (waiting > 0) {
    results.notes.push_back(
        fmt::format("{} runs of the sweep '{}' have not started and are left out.", waiting, source.generic_string()));
  }
}

bool is_free(const std::string& key) {
  static const std::set<std::string> free = {"name", "seed", "train.checkpoint_every", "train.keep_checkpoints"};
  return free.count(key) != 0 || covers("log", key) || covers("sweep", key) || covers("table", key);
}

// The keys in which two configurations differ, in the order of the first one. What stands below different kinds is
// different by nature, so there the kind alone counts.
void collect_differences(const Node* a, const Node* b, const std::string& path, std::vector<std::string>& keys) {
  if (is_free(path) || (a == nullptr && b == nullptr) || (a != nullptr && b != nullptr && *a == *b)) return;
  if (a == nullptr || b == nullptr || !a->is_map() || !b->is_map()) {
    if (std::find(keys.begin(), keys.end(), path) == keys.end()) keys.push_back(path);
    return;
  }
  const Node *const kind_a = a->find("kind"), *const kind_b = b->find("kind");
  const std::string start = path.empty() ? "" : path + ".";
  if (kind_a != nullptr && kind_b != nullptr && !(*kind_a == *kind_b)) {
    collect_differences(kind_a, kind_b, start + "kind", keys);
    return;
  }
  for (const MapEntry& entry : a->map()) collect_differences(&entry.value, b->find(entry.key), start + entry.key, keys);
  for (const MapEntry& entry : b->map()) {
    if (a->find(entry.key) == nullptr) collect_differences(nullptr, &entry.value, start + entry.key, keys);
  }
}

std::string differing_text(const std::vector<std::string>& keys, const ComparedRun& a, const ComparedRun& b) {
  std::string text;
  for (const std::string& key : keys) {
    const auto value = [&](const ComparedRun& run) {
      const Node* const node = run.config.find_path(key);
      return node == nullptr ? std::string("(absent)") : value_label(*node);
    };
    text += fmt::format("\n  {}: {} in '{}', {} in '{}'", key, value(a), a.name, value(b), b.name);
  }
  return text;
}

// Numbers of different data or of another evaluation do not compare, unless the reader is told.
void refuse_other_data(const std::vector<std::string>& differences, const std::vector<std::string>& shown,
                       const ComparedRun& a, const ComparedRun& b) {
  std::vector<std::string> keys;
  for (const std::string& key : differences) {
    const bool is_shown = std::any_of(shown.begin(), shown.end(), [&](const auto& axis) { return covers(axis, key); });
    // How often a run is evaluated does not change what its evaluations mean.
    const bool is_meaning = covers("data", key) || (covers("eval", key) && key != "eval.every");
    if (is_meaning && !is_shown) keys.push_back(key);
  }
  if (keys.empty()) return;
  throw ConfigError(
      fmt::format("'{}' and '{}' cannot stand in one table: they were trained or evaluated on different things:{}\n"
                  "Leave one out, or show the difference with --rows {} (in figures: --group)",
                  a.name, b.name, differing_text(keys, a, b), keys.front()));
}

SweepResults read_single_runs(const std::vector<fs::path>& sources, const std::vector<std::string>& shown) {
  SweepResults results;
  for (const fs::path& source : sources) add_source(results, source);
  if (results.runs.empty()) throw DataError("None of the runs of these sweeps has started; there is nothing to show.");
  results.name = fs::path(results.runs.front().name).lexically_normal().filename().string();
  std::vector<ComparedRun>& runs = results.runs;
  std::vector<std::size_t> distinct;  // One run of every configuration.
  for (std::size_t i = 0; i < runs.size(); ++i) {
    bool is_new = true;
    for (std::size_t j = 0; j < i; ++j) {
      if (fs::equivalent(runs[i].run_file, runs[j].run_file)) {
        throw ConfigError(fmt::format("'{}' and '{}' are the same run; name it once.", runs[j].name, runs[i].name));
      }
    }
    for (const std::size_t other : distinct) {
      std::vector<std::string> keys;
      collect_differences(&runs[other].config, &runs[i].config, "", keys);
      refuse_other_data(keys, shown, runs[other], runs[i]);
      is_new = is_new && !keys.empty();
      for (const std::string& key : keys) {
        if (std::find(results.axes.begin(), results.axes.end(), key) == results.axes.end()) results.axes.push_back(key);
      }
    }
    if (is_new) distinct.push_back(i);
  }
  // A section or an equal key that is asked for is an axis too.
  for (const std::string& axis : shown) {
    const bool is_known = std::find(results.axes.begin(), results.axes.end(), axis) != results.axes.end();
    if (!is_known && runs.front().config.find_path(axis) != nullptr) results.axes.push_back(axis);
  }
  for (ComparedRun& run : runs) {
    for (const std::string& axis : results.axes) {
      if (const Node* const value = run.config.find_path(axis)) run.axes.push_back({axis, *value, value_label(*value)});
    }
  }
  return results;
}

}  // namespace

std::string_view to_string(ResultState state) {
  switch (state) {
    case ResultState::missing:
      return "not started";
    case ResultState::running:
      return "running";
    case ResultState::interrupted:
      return "interrupted";
    case ResultState::failed:
      return "failed";
    case ResultState::done:
      return "done";
  }
  throw BugError("unknown state of a run");
}

std::string ComparedRun::label(const std::string& axis) const {
  for (const AxisValue& value : axes) {
    if (value.axis == axis) return value.label;
  }
  return "—";
}

bool covers(const std::string& axis, const std::string& key) {
  return key.starts_with(axis) && (key.size() == axis.size() || key[axis.size()] == '.');
}

std::string list_text(const std::vector<std::string>& names, std::size_t limit) {
  std::string text;
  const std::size_t count = std::min(names.size(), limit);
  for (std::size_t i = 0; i < count; ++i) {
    const bool is_last = i + 1 == names.size();
    text += (i == 0 ? "" : is_last ? " and " : ", ") + names[i];
  }
  return names.size() > limit ? fmt::format("{} and {} more", text, names.size() - limit) : text;
}

SweepResults read_results(const std::vector<fs::path>& sources, const std::vector<std::string>& shown) {
  if (sources.empty()) throw ConfigError("Name a sweep folder, or run folders.");
  if (sources.size() == 1 && is_sweep_folder(sources.front())) return read_sweep(sources.front());
  return read_single_runs(sources, shown);
}

}  // namespace rwkvlab
