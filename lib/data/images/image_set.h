// Pictures as a data set: order, augmentation, normalisation, batches.
#pragma once

#include "data/images/augmentation.h"
#include "data/images/picture_source.h"

namespace rwkvlab {

/// In which order the training pictures come.
enum class ImageOrder {
  shuffled,  ///< an epoch passes over all of them in an order of its own
  in_turn,   ///< always as they are stored
  fresh      ///< ever new ones; of generated sets only
};

struct ImageSetParts {
  std::string kind;                  ///< for describe() and the random streams
  std::string details;               ///< what else describe() says; may be empty
  SourcePointer training, held_out;  ///< held_out may be null
  ImageForm form;
  bool converts_channels = false;  ///< between grey and colour; otherwise another number of channels is an error
  double crop_share = 1;           ///< see fitted()
  Interpolation interpolation = Interpolation::bicubic;
  std::vector<std::shared_ptr<const Augmentation>> augmentations;
  ImageOrder order = ImageOrder::shuffled;
  std::uint64_t seed = 0;
};

/// See ImageDataSet. Training picture `step * batch + row` of an endless sequence of epochs is row `row` of a step, so
/// every batch is full; how it is augmented depends on (seed, that number) alone.
class ImageSet final : public ImageDataSet {
 public:
  explicit ImageSet(ImageSetParts parts);

  std::int64_t channels() const override { return parts_.form.channels; }
  std::int64_t height() const override { return parts_.form.height; }
  std::int64_t width() const override { return parts_.form.width; }
  std::int64_t classes() const override { return parts_.form.classes; }
  bool is_dense() const override { return parts_.form.is_dense; }
  std::int64_t training_images_count() const override;
  ImageBatch training_images(std::int64_t step, std::int64_t batch) const override;
  std::int64_t held_out_batches(std::int64_t batch, std::int64_t limit) const override;
  ImageBatch held_out_images(std::int64_t index, std::int64_t batch) const override;
  std::string describe() const override;

 private:
  ImageBatch empty_batch(std::int64_t rows) const;
  void fit(Picture& picture) const;
  void write(const Example& example, std::int64_t row, ImageBatch& batch) const;
  Example training_example(std::int64_t number) const;
  void mix(std::int64_t step, ImageBatch& batch) const;

  ImageSetParts parts_;
  RandomStream order_, augmentation_, mixing_;
};

}  // namespace rwkvlab
