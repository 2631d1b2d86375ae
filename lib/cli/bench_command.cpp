// rwkvlab bench: how fast this machine trains, and how close that is to the cost of the matrix products alone.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "bench/train_bench.h"
#include "cli/commands.h"
#include "kernels/parallel.h"

namespace rwkvlab::cli {
namespace {

struct BenchArguments {
  std::string workload = "small", against, precision;
  std::vector<std::string> settings;
  int threads = 0;
  TrainBenchOptions options;
  bool as_json = false;
};

TrainWorkload workload_of(const std::string& name, const std::vector<std::string>& settings) {
  const std::string extension = std::filesystem::path(name).extension();
  if (extension == ".yaml" || extension == ".yml") return train_workload(load_experiment(name, settings));
  if (!settings.empty()) throw ConfigError("--set changes experiment files, and none was given: name a file");
  return train_workload(name);
}

int bench_train_command(const BenchArguments& arguments) {
  if (arguments.threads > 0) kernels::set_threads(arguments.threads);
  TrainWorkload workload = workload_of(arguments.workload, arguments.settings);
  if (!arguments.precision.empty()) workload.precision = arguments.precision;
  const std::string note = precision_note(workload.precision);
  if (!note.empty()) fmt::print(stderr, "note: {}\n", note);
  std::optional<TrainWorkload> against;
  if (!arguments.against.empty()) against = workload_of(arguments.against, {});
  const TrainBenchReport report = bench_train(workload, arguments.options, against ? &*against : nullptr);
  fmt::print("{}", arguments.as_json ? json(report).dump(2) + "\n" : text(report));
  return success;
}

}  // namespace

void add_bench_command(Program& program) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* const command = program.app.add_subcommand("bench", "measure speed on this machine");
  command->require_subcommand(1);
  CLI::App* const train = command->add_subcommand(
      "train", "time a training step against its matrix products alone, in turns within one run");
  const std::string names = fmt::format("{}, or an experiment file (.yaml)", fmt::join(train_workload_names(), ", "));
  train->add_option("WORKLOAD,--workload", arguments->workload, "model and batch: " + names)->capture_default_str();
  train->add_option("--against", arguments->against, "another workload whose step is timed in turns with this one");
  train->add_option("--set", arguments->settings, "change a value of the experiment file: path.to.key=value")
      ->allow_extra_args(false)
      ->type_name("KEY=VALUE");
  train
      ->add_option("--precision", arguments->precision,
                   "of the matrix products (train.precision); default: the experiment file's, else float32")
      ->check(CLI::IsMember({float32_precision, bfloat16_precision}));
  train->add_option("--threads", arguments->threads, "threads; default: all cores that the process may use")
      ->check(CLI::PositiveNumber);
  train
      ->add_option("--repetitions", arguments->options.repetitions,
                   "repetitions of each measurement; the least is printed")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  train->add_option("--seconds", arguments->options.seconds, "least duration of one repetition")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  train->add_flag("--json", arguments->as_json, "print JSON");
  train->callback([&program, arguments] { program.action = [arguments] { return bench_train_command(*arguments); }; });
}

}  // namespace rwkvlab::cli
