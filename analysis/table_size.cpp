#include "analysis/table_size.h"

#include <fmt/format.h>

#include "base/error.h"
#include "config/resolve.h"
#include "run/available_memory.h"
#include "run/describe.h"
#include "run/experiment.h"

namespace rwkvlab {
namespace {

// One sequence as long as in training: attention costs more per token the longer it is.
ModelSize size_of(const ComparedRun& run) {
  LoadedExperiment loaded;
  loaded.file = run.run_file;
  // Built from the tree itself: whether the data's files are still there matters only to a vocabulary made from them.
  Resolved<Experiment> resolved = resolve_as<Experiment>(run.config, experiment_schema());
  loaded.tree = std::move(resolved.tree);
  loaded.experiment = std::move(resolved.value);
  const auto model = build_model(loaded);
  const ModelDescription description = describe_model(*model, {.batch = 1, .context = loaded.experiment.train.context});
  return {description.parameters, description.forward_flops_per_token, description.state_elements};
}

std::string key_of(const Node& config) {
  std::string key;
  for (const char* const part : {"model", "data", "train.context", "train.objective"}) {
    const Node* const node = config.find_path(part);
    key += (node == nullptr ? "" : canonical_text(*node)) + "\n";
  }
  return key;
}

}  // namespace

std::optional<ModelSize> ModelSizes::of(const std::vector<const ComparedRun*>& runs) {
  for (const ComparedRun* const run : runs) {
    if (!run->config.is_map()) continue;
    const std::string key = key_of(run->config);
    const auto found = known_.find(key);
    if (found != known_.end()) return found->second;
    try {
      return known_[key] = size_of(*run);
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}: the size of the model is not known: {}", run->run_file.string(), error.what()));
    } catch (const ConfigError& error) {
      throw ConfigError(
          fmt::format("{}: the size of the model is not known: {}", run->run_file.string(), error.what()));
    }
  }
  return std::nullopt;
}

}  // namespace rwkvlab
