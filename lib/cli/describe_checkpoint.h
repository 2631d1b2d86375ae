// `describe` of a file of weights.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rwkvlab::cli {

struct DescribeOutput {
  bool json = false;
  bool yaml = false;     ///< the model section of an experiment file, nothing else
  bool tensors = false;  ///< every tensor of the file
  bool check = false;    ///< look for numbers that are not finite, however large the file is
};

/// Whether a path names weights (a run folder, a checkpoint, a .pth or .safetensors file) and not an experiment file.
bool names_weights(const std::filesystem::path& path);

/// Says what the weights are: which model, how large, stored how. Returns the exit code: 3 when numbers were
/// found that are not finite.
int describe_weights(const std::filesystem::path& source, const std::vector<std::string>& settings,
                     const DescribeOutput& output);

}  // namespace rwkvlab::cli
