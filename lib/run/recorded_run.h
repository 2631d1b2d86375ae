// Where the record of a training lies, for whatever a user names of it.
#pragma once

#include <filesystem>

namespace rwkvlab {

/// The run folder that a checkpoint lies in: "runs/a" for "runs/a/checkpoints", "runs/a/checkpoints/step-00000500" and
/// its "model.safetensors". Other paths are returned as they are. Throws DataError for a file of weights outside of
/// such a folder, which says nothing of its training.
std::filesystem::path recorded_run(const std::filesystem::path& source);

}  // namespace rwkvlab
