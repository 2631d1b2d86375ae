// Models of images for benchmarks, and random images for them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/registry.h"
#include "data/image_data_set.h"

namespace rwkvlab {

/// One batch of random images that every step gets, of 3 colours and 1000 classes.
std::unique_ptr<ImageDataSet> random_images(std::int64_t height, std::int64_t width);

/// "vrwkv-tiny", "vrwkv6-tiny" and "vit-tiny": the models of configs/models, for images of 224 x 224.
struct NamedImageModel {
  const char* name;
  Choice (*model)();
};
const std::vector<NamedImageModel>& named_image_models();

}  // namespace rwkvlab
