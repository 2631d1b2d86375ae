#include "run/export_model.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tensor/pth.h"
#include "tensor/safetensors.h"
#include "train/checkpoint.h"

namespace rwkvlab {

void export_model(const TrainedModel& model, const std::filesystem::path& output, FloatFormat format) {
  const std::string ending = output.extension().string();
  const std::vector<NamedTensor> weights = weights_of(*model.root);
  if (ending == ".pth") return write_pth(output, weights, format);
  if (ending != ".safetensors") {
    throw ConfigError(fmt::format("'{}' ends in '{}', expected .pth or .safetensors", output.string(), ending));
  }
  std::map<std::string, std::string> metadata = {{"format", std::string(checkpoint_format)},
                                                 {"config", model.loaded.text()}};
  if (model.has_tokenizer) metadata["vocabulary"] = model.tokenizer.json().dump();
  write_safetensors(output, weights, metadata, format);
}

}  // namespace rwkvlab
