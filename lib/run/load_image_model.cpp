#include "run/load_image_model.h"

#include <fmt/format.h>

#include "base/error.h"
#include "run/initial_weights.h"
#include "run/load_model.h"
#include "train/checkpoint.h"
#include "train/tuning.h"

namespace rwkvlab {

TrainedImageModel open_image_model(const std::filesystem::path& source) {
  const TensorFile file = open_tensor_file(weights_file(source));
  CheckpointDescription description = describe_checkpoint(file);
  if (objective_of_model(description.loaded.experiment.model.kind).empty()) {
    throw ConfigError(fmt::format("{}: this is a {}, which reads no images", file.path().string(),
                                  description.loaded.experiment.model.kind));
  }
  TrainedImageModel result{file.path(), std::move(description.loaded), {}, nullptr};
  result.built = build_experiment(result.loaded);
  result.model = dynamic_cast<const ImageModel*>(result.built.model.get());
  check_invariant(result.model != nullptr, "a kind of model with an objective for images reads images");
  result.built.model->allocate(result.loaded.experiment.seed);
  load_initial_weights(result.loaded, *result.built.model);
  return result;
}

void TrainedImageModel::load_weights() {
  const TensorFile weights = open_tensor_file(file);
  if (holds_tuning_alone(weights)) {  // The model has the weights beside it already: they are its initial ones.
    const Experiment& e = loaded.experiment;
    make_tuning(e.train.tune, {built.model.get(), e.train.parameter_policy(), e.seed})->load(weights);
    return;
  }
  LoadOptions options;
  options.must_be_finite = true;
  rwkvlab::load_weights(*built.model, weights, options);
}

}  // namespace rwkvlab
