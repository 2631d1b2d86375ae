#include "models/image_model.h"

#include <fmt/format.h>

#include <map>

namespace rwkvlab {

std::string image_size_text(const ModelSite& image, std::int64_t patch_size) {
  const auto whole = [patch_size](std::int64_t side) { return (side + patch_size - 1) / patch_size * patch_size; };
  const std::int64_t height = whole(image.height), width = whole(image.width);
  const bool is_padded = height != image.height || width != image.width;
  return fmt::format("{} x {} pixels{} of {} channels", image.height, image.width,
                     is_padded ? fmt::format(" (padded to {} x {})", height, width) : "", image.channels);
}

std::string objective_of_model(const std::string& model_kind) {
  static const std::map<std::string, std::string> objectives = {{"image_classifier", "image_classification"},
                                                                {"image_segmenter", "segmentation"},
                                                                {"masked_autoencoder", "masked_autoencoding"}};
  const auto found = objectives.find(model_kind);
  return found == objectives.end() ? "" : found->second;
}

}  // namespace rwkvlab
