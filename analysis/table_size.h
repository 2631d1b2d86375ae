// Parameters, FLOPs and state of the models in a table, from the configurations of their runs.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "analysis/table.h"

namespace rwkvlab {

/// Describes models, each one once however many runs trained it.
class ModelSizes {
 public:
  /// Of the first of `runs` that has a configuration; nothing when none has. Nothing is allocated (run/describe.h).
  /// Throws ConfigError or DataError naming the run when its model cannot be built, for example because the data that
  /// its vocabulary comes from is gone.
  std::optional<ModelSize> of(const std::vector<const ComparedRun*>& runs);

 private:
  std::map<std::string, ModelSize> known_;  // By the configuration without what does not change the model.
};

}  // namespace rwkvlab
