#include "run/initial_weights.h"

#include <fmt/format.h>

#include "base/error.h"
#include "models/official_checkpoint.h"
#include "train/checkpoint.h"

namespace rwkvlab {
namespace {

// Calls `use` with the file and how to read it; what does not fit is blamed on the key.
template <class Use>
void with_weights(const LoadedExperiment& loaded, Use&& use) {
  const std::string& source = loaded.experiment.train.start_from;
  if (source.empty()) return;
  const Node* const key = loaded.tree.find_path("train.start_from");
  const std::string place = key == nullptr ? loaded.file.string() : key->place().position().text();
  try {
    const TensorFile file = open_tensor_file(weights_file(source));
    use(file, LoadOptions{.prefix = official_prefix(file), .may_lack_initial_state = true, .must_be_finite = true});
  } catch (const DataError& error) {
    throw DataError(fmt::format(
        "{}: train.start_from: {}\n`rwkvlab describe {} --yaml` prints the model section that fits such a file.", place,
        error.what(), source));
  }
}

}  // namespace

void check_initial_weights(const LoadedExperiment& loaded, const Module& model) {
  with_weights(loaded,
               [&](const TensorFile& file, const LoadOptions& options) { check_weights(model, file, options); });
}

void load_initial_weights(const LoadedExperiment& loaded, Module& model) {
  with_weights(loaded, [&](const TensorFile& file, const LoadOptions& options) { load_weights(model, file, options); });
}

}  // namespace rwkvlab
