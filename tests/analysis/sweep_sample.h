// Sweep folders for tests, written by hand: their runs trained nothing but have the files of runs.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <vector>

#include "config/resolve.h"
#include "config/yaml_reader.h"
#include "config/yaml_writer.h"
#include "record/run_file_writer.h"
#include "run/experiment.h"
#include "sweep/sweep_record.h"
#include "tests/temporary_folder.h"

namespace rwkvlab::testing {

/// What a run of the sample recorded.
struct SampleRun {
  std::vector<double> accuracy;  ///< At steps 50, 100, ...
  RunStatus status = RunStatus::done;
  double loss = 1;  ///< Of training at step 0, falling linearly to a tenth.
};

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

inline void write_sample_run(const std::filesystem::path& folder, const std::string& config, const SampleRun& run) {
  std::filesystem::create_directories(folder);
  auto writer = RunFileWriter::create(folder / "run.h5", config, {});
  writer.declare_metric("train/loss", "nats per token", "");
  writer.declare_metric("train/tokens_seen", "tokens", "");
  writer.declare_metric("eval/accuracy", "1", "");
  for (int step = 0; step <= 100; step += 10) {
    writer.metric("train/loss", step, run.loss * (1 - 0.009 * step));
    writer.metric("train/tokens_seen", step, 64 * step);
  }
  for (std::size_t i = 0; i < run.accuracy.size(); ++i) {
    writer.metric("eval/accuracy", 50 * static_cast<std::int64_t>(i + 1), run.accuracy[i]);
  }
  writer.close(run.status);
}

/// The resolved configuration of a small run.
inline std::string sample_config(int width, double rate, int seed, const std::string& more = "") {
  const std::string model = fmt::format("kind: language_model, vocabulary_size: 16, layers: 1, width: {}", width);
  const Node given = parse_yaml(fmt::format("name: run-{0}\nseed: {0}\nmodel: {{{1}}}\n"
                                            "train: {{steps: 100, learning_rate: {2}}}\n{3}",
                                            seed, model, rate, more),
                                "sample.yaml");
  return to_yaml(resolve(given, experiment_schema()));
}

/// mixer (Finch, RWKV-4) x model.width (32, 64) x train.learning_rate (0.001, 0.003), three seeds, best of the rates.
inline SweepRecord sample_record() {
  SweepRecord record;
  record.name = "recall";
  record.experiment = record.sweep = Node{Node::Map{}};
  record.axes = {"mixer", "model.width", "train.learning_rate"};
  record.best_of = BestOf{{"train.learning_rate"}, "eval/accuracy", true, false};
  for (const char* const mixer : {"Finch", "RWKV-4"}) {
    for (const int width : {32, 64}) {
      for (const double rate : {0.001, 0.003}) {
        for (const int seed : {1, 2, 3}) {
          SweepRun run;
          run.variant = fmt::format("{} {} {}", mixer, width, rate);
          run.axes = {{"mixer", Node(mixer), mixer},
                      {"model.width", Node(width), std::to_string(width)},
                      {"train.learning_rate", Node(rate), fmt::format("{}", rate)}};
          run.seed = static_cast<std::uint64_t>(seed);
          run.folder = fmt::format("runs/{}-{}-{}/seed-{}", mixer, width, rate, seed);
          run.settings = Node{Node::Map{}};
          run.settings.insert("model.width", Node(width));
          run.settings.insert("train.learning_rate", Node(rate));
          record.runs.push_back(std::move(run));
        }
      }
    }
  }
  return record;
}

/// Accuracies whose means and deviations can be told by hand: Finch 0.90, RWKV-4 0.50; +0.05 for the larger width; the
/// rate 0.003 is 0.02 better for Finch and worse for RWKV-4; seeds are 0.01 apart, so the deviation is 0.01.
inline SampleRun sample_result(const SweepRun& run) {
  const bool is_finch = run.axes[0].label == "Finch", is_fast = run.axes[2].label == "0.003";
  const double value = (is_finch ? 0.9 : 0.5) + (run.axes[1].label == "64" ? 0.05 : 0) +
                       (is_fast ? (is_finch ? 0.02 : -0.02) : 0) + 0.01 * (static_cast<double>(run.seed) - 2);
  return {{0.5 * value, value}, RunStatus::done, is_finch ? 2.0 : 3.0};
}

inline std::string config_of(const SweepRun& run) {
  return sample_config(static_cast<int>(run.axes[1].value.integer()), run.axes[2].value.number(),
                       static_cast<int>(run.seed));
}

/// Writes the sample. Its files are made once for all tests of a program, since every run file is synced to the disk.
inline void write_sample_sweep(const std::filesystem::path& folder) {
  struct Original {
    Original() {
      const SweepRecord record = sample_record();
      write_sweep_record(made.path(), record);
      for (const SweepRun& run : record.runs)
        write_sample_run(made.path() / run.folder, config_of(run), sample_result(run));
    }
    TemporaryFolder made;
  };
  static const Original original;
  std::filesystem::copy(original.made.path(), folder, std::filesystem::copy_options::recursive);
}

}  // namespace rwkvlab::testing
