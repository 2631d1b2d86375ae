#include "models/image_model.h"

#include <map>

namespace rwkvlab {

std::string objective_of_model(const std::string& model_kind) {
  static const std::map<std::string, std::string> objectives = {{"image_classifier", "image_classification"},
                                                                {"image_segmenter", "segmentation"},
                                                                {"masked_autoencoder", "masked_autoencoding"}};
  const auto found = objectives.find(model_kind);
  return found == objectives.end() ? "" : found->second;
}

}  // namespace rwkvlab
