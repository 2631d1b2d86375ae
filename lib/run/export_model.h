// A trained model as a file for other programs.
#pragma once

#include <filesystem>
#include <optional>

#include "run/load_model.h"
#include "tensor/tensor_writing.h"

namespace rwkvlab {

/// Throws ConfigError unless the file is called .pth or .safetensors, FileError when it cannot be made.
void check_export_path(const std::filesystem::path& output);

/// Writes the weights under their official names and with their official shapes: a .pth file, which torch.load and the
/// official code read, or a .safetensors file, which also holds the experiment and the tokenizer, so that this program
/// reads it like a checkpoint. Floats are stored in `format`. Throws ConfigError for another ending, FileError when
/// writing fails, DataError for a weight that `format` cannot hold.
void export_model(const TrainedModel& model, const std::filesystem::path& output,
                  FloatFormat format = FloatFormat::float32);

/// Writes what fine-tuning has trained alone, under the names of its checkpoints ("<matrix>.lora_A", "<matrix>.lora_B",
/// "<piece of state>.initial"), as .pth or as .safetensors, which this program reads beside the weights that it was
/// trained with. Throws DataError when `source` names a whole model, and as export_model does.
void export_tuning(const std::filesystem::path& source, const std::filesystem::path& output,
                   FloatFormat format = FloatFormat::float32);

/// Writes the state that sequences of a model start from, for `rwkvlab generate --state` with the weights that the
/// state was trained beside. Throws DataError when `source` names a model whose state was not trained.
void export_initial_state(const std::filesystem::path& source, const LoadModelOptions& options,
                          const std::filesystem::path& output);

}  // namespace rwkvlab
