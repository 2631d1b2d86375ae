#include "run/export_model.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/output_path.h"
#include "models/generator.h"
#include "tensor/pth.h"
#include "tensor/safetensors.h"
#include "train/checkpoint.h"
#include "train/tuning.h"

namespace rwkvlab {

namespace {

void write_tensors(const std::filesystem::path& output, const std::vector<NamedTensor>& tensors,
                   const std::map<std::string, std::string>& metadata, FloatFormat format) {
  check_export_path(output);
  if (output.extension() == ".pth") return write_pth(output, tensors, format);
  write_safetensors(output, tensors, metadata, format);
}

}  // namespace

void check_export_path(const std::filesystem::path& output) {
  const std::string ending = output.extension().string();
  if (ending != ".pth" && ending != ".safetensors") {
    throw ConfigError(fmt::format("'{}' ends in '{}', expected .pth or .safetensors", output.string(), ending));
  }
  check_output_path(output);
}

void export_model(const TrainedModel& model, const std::filesystem::path& output, FloatFormat format) {
  std::map<std::string, std::string> metadata = {{"format", std::string(checkpoint_format)},
                                                 {"config", model.loaded.text()}};
  if (model.has_tokenizer) metadata["vocabulary"] = model.tokenizer.json().dump();
  write_tensors(output, weights_of(*model.root), metadata, format);
}

void export_tuning(const std::filesystem::path& source, const std::filesystem::path& output, FloatFormat format) {
  const TensorFile file = open_tensor_file(weights_file(source));
  if (!holds_tuning_alone(file)) {
    throw DataError(fmt::format(
        "'{}' holds a whole model; what can be written apart from it is what train.tune: lora or state has trained",
        file.path().string()));
  }
  std::vector<NamedTensor> tensors;
  for (const TensorEntry& entry : file.entries()) tensors.push_back({entry.name, file.tensor(entry.name)});
  write_tensors(output, tensors, file.metadata(), format);
}

void export_initial_state(const std::filesystem::path& source, const LoadModelOptions& options,
                          const std::filesystem::path& output) {
  const TrainedModel tuned = load_trained_model(source, options);
  const TrainParams& train = tuned.loaded.experiment.train;
  if (train.tune.kind != "state") {
    throw DataError(fmt::format("the state of '{}' was not trained: expected a run with train.tune: {{kind: state}}",
                                tuned.file.string()));
  }
  const TrainedModel base = load_trained_model(train.start_from, {.needs_tokenizer = false});
  GenerationState state;
  state.state = tuned.model->start(1);
  if (state.state.empty()) state.state = tuned.model->initial_state(1);
  save_state(state, *base.model, weights_fingerprint(*base.model), output.string());
}

}  // namespace rwkvlab
