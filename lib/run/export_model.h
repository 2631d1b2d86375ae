// A trained model as a file for other programs.
#pragma once

#include <filesystem>
#include <optional>

#include "run/load_model.h"
#include "tensor/tensor_writing.h"

namespace rwkvlab {

/// Writes the weights under their official names and with their official shapes: a .pth file, which torch.load and the
/// official code read, or a .safetensors file, which also holds the experiment and the tokenizer, so that this program
/// reads it like a checkpoint. Floats are stored in `format`. Throws ConfigError for another ending, FileError when
/// writing fails, DataError for a weight that `format` cannot hold.
void export_model(const TrainedModel& model, const std::filesystem::path& output,
                  FloatFormat format = FloatFormat::float32);

}  // namespace rwkvlab
