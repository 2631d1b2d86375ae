// The next batch is made while the trainer computes.
#pragma once

#include <memory>

#include "data/image_data_set.h"

namespace rwkvlab {

/// The same batches as `data` gives. Once batches are asked for one after the other, a thread makes the next one in
/// advance, one of training and one of held-out images at most. What goes wrong there is thrown where that batch is
/// asked for.
std::unique_ptr<ImageDataSet> in_background(std::unique_ptr<ImageDataSet> data);

}  // namespace rwkvlab
