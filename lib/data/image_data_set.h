// Images as the training loop asks for them: batches as a pure function of the seed and the step.
#pragma once

#include <cstdint>
#include <string>

#include "data/data_set.h"

namespace rwkvlab {

struct ImageBatch {
  Tensor images;               ///< float32 [batch, channels, height, width], normalised
  Tensor labels;               ///< int64 [batch]; of dense data [batch, height, width]; no_target: not counted
  Tensor soft_labels;          ///< float32 [batch, classes], of mixed images; undefined: `labels` alone
  std::string evaluation_set;  ///< of a held-out batch: the set it belongs to; empty when there is only one
};

/// Images with a label each, or, as dense data, with one per pixel. See DataSet.
class ImageDataSet : public DataSet {
 public:
  virtual std::int64_t channels() const = 0;
  virtual std::int64_t height() const = 0;
  virtual std::int64_t width() const = 0;
  /// Number of different labels; 0: there are none.
  virtual std::int64_t classes() const = 0;
  /// Whether every pixel has a label.
  virtual bool is_dense() const { return false; }
  /// Number of images to train on; 0: ever new ones.
  virtual std::int64_t training_images_count() const = 0;

  /// The batch of one step (from 0), augmented. Throws DataError for images that cannot be read.
  virtual ImageBatch training_images(std::int64_t step, std::int64_t batch) const = 0;
  /// Number of batches that cover the held-out images once, at most `limit` (0: no limit); 0 without held-out images.
  virtual std::int64_t held_out_batches(std::int64_t batch, std::int64_t limit = 0) const = 0;
  /// One of them, without augmentation; the last one of a set has only the images that are left.
  virtual ImageBatch held_out_images(std::int64_t index, std::int64_t batch) const = 0;
};

/// The data as images. Throws ConfigError when it is made of something else.
const ImageDataSet& image_data(const DataSet& data);

}  // namespace rwkvlab
