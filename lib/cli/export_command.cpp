// rwkvlab export: a trained model as a file for other programs.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "run/describe.h"
#include "run/export_model.h"

namespace rwkvlab::cli {
namespace {

struct ExportArguments {
  std::filesystem::path source, output;
  std::string format = "float32", adapters = "merged";
  LoadModelOptions loading;
};

// What the file is to those who know the official names alone.
std::string seen_as(const std::filesystem::path& output) {
  const std::string version = official_version(open_tensor_file(output));
  return version.empty() ? "no official model, for this program alone" : version;
}

int export_weights(const ExportArguments& arguments) {
  check_export_path(arguments.output);
  if (arguments.adapters != "merged") {
    if (arguments.adapters == "state") {
      export_initial_state(arguments.source, arguments.loading, arguments.output);
    } else {
      export_tuning(arguments.source, arguments.output, *float_format(arguments.format));
    }
    const bool is_state = arguments.adapters == "state";
    fmt::print("{}: {}\n", arguments.output.string(),
               is_state ? "the initial state, for generate --state with the base weights"
                        : "what fine-tuning has trained, for use beside the base weights");
    return success;
  }
  const TrainedModel model = load_trained_model(arguments.source, arguments.loading);
  export_model(model, arguments.output, *float_format(arguments.format));
  std::int64_t parameters = 0;
  for (const Parameter* const parameter : model.root->parameters()) parameters += parameter->shape.elements();
  std::error_code ignored;
  fmt::print("{}: {}, {} parameters as {}, {}\n", arguments.output.string(), seen_as(arguments.output),
             grouped(parameters), arguments.format,
             bytes_text(static_cast<std::int64_t>(std::filesystem::file_size(arguments.output, ignored))));
  return success;
}

}  // namespace

void add_export_command(const Command& program) {
  auto arguments = std::make_shared<ExportArguments>();
  arguments->loading.needs_tokenizer = false;
  const Command command = program.command(
      "export", "write the weights of a run or checkpoint with official names, as .pth or .safetensors");
  command.option("SOURCE", arguments->source, "run folder, checkpoint, .safetensors or .pth file").required();
  command.option("-o,--output", arguments->output, "file to write: .pth or .safetensors").required().type_name("FILE");
  command.option("--dtype", arguments->format, "how the weights are stored")
      .one_of({"float32", "float16", "bfloat16"})
      .show_default();
  command
      .option("--adapters", arguments->adapters,
              "of a fine-tuned run: merged (the whole model), separate (what was trained alone), or state (the "
              "tuned state, for generate --state)")
      .one_of({"merged", "separate", "state"})
      .show_default();
  command
      .option("--tokenizer", arguments->loading.tokenizer,
              "vocabulary file to store in a .safetensors file with the weights of an official model")
      .type_name("FILE");
  command.option("--set", arguments->loading.settings, "change the model: model.key=value; may be repeated")
      .one_at_a_time()
      .type_name("KEY=VALUE");
  command.action([arguments] { return export_weights(*arguments); });
}

}  // namespace rwkvlab::cli
