// rwkvlab describe: the model as a tree, and what it costs.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/describe_checkpoint.h"
#include "run/available_memory.h"
#include "run/describe.h"

namespace rwkvlab::cli {
namespace {

int describe(const ConfigArguments& arguments, const DescribeOutput& output) {
  if (names_weights(arguments.file)) return describe_weights(arguments.file, arguments.settings, output);
  const LoadedExperiment loaded = arguments.load();
  if (loaded.experiment.sweep)
    fmt::print(stderr,
               "note: this file is a sweep (see `rwkvlab check`); described is the model that it starts from\n");
  const auto model = build_model(loaded);
  const ModelDescription description = describe_model(*model, describe_options(*model, loaded.experiment.train));
  const AvailableMemory available = available_memory();
  if (output.json) {
    nlohmann::ordered_json json = describe_json(description);
    json["memory_bytes"]["available"] = available.bytes;
    fmt::print("{}\n", json.dump(2));
  } else {
    fmt::print("{}  {:<26}{:>12}  {}\n", describe_text(description), "available here", bytes_text(available.bytes),
               available.limited_by);
  }
  return success;
}

}  // namespace

void add_describe_command(const Command& program) {
  auto arguments = std::make_shared<ConfigArguments>();
  auto output = std::make_shared<DescribeOutput>();
  const Command command = program.command(
      "describe", "print the model of an experiment file or of weights: modules, parameters, cost, memory");
  arguments->add_to(command);
  command.flag("--json", output->json, "print JSON");
  const std::string group = "Weights (a run folder, a checkpoint, a .pth or .safetensors file as CONFIG)";
  command.flag("--yaml", output->yaml, "print the model section of an experiment file that fits them").group(group);
  command.flag("--tensors", output->tensors, "list every tensor").group(group);
  command.flag("--check", output->check, "look for NaN and infinity in weights of more than 512 MB, too").group(group);
  command.action([arguments, output] { return describe(*arguments, *output); });
}

}  // namespace rwkvlab::cli
