#include "data/images/image_set.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "data/tasks/task_data_set.h"

namespace rwkvlab {

ImageSet::ImageSet(ImageSetParts parts)
    : parts_(std::move(parts)),
      order_(parts_.seed, "data." + parts_.kind + ".order"),
      augmentation_(parts_.seed, "data." + parts_.kind + ".augmentation"),
      mixing_(parts_.seed, "data." + parts_.kind + ".mixing") {
  check_invariant(parts_.training != nullptr && parts_.training->size() > 0, "an image set without pictures");
}

std::int64_t ImageSet::training_images_count() const {
  return parts_.order == ImageOrder::fresh ? 0 : parts_.training->size();
}

ImageBatch ImageSet::empty_batch(std::int64_t rows) const {
  const ImageForm& form = parts_.form;
  ImageBatch batch;
  batch.images = Tensor::empty({rows, form.channels, form.height, form.width});
  batch.labels =
      form.is_dense ? Tensor::empty({rows, form.height, form.width}, DType::i64) : Tensor::empty({rows}, DType::i64);
  return batch;
}

void ImageSet::fit(Picture& picture) const {
  picture = fitted(picture, parts_.form.height, parts_.form.width, parts_.crop_share, parts_.interpolation);
}

// Normalised.
void ImageSet::write(const Example& example, std::int64_t row, ImageBatch& batch) const {
  const ImageForm& form = parts_.form;
  const Picture& picture = example.picture;
  check_invariant(picture.height == form.height && picture.width == form.width, "a picture of another size");
  float* to = batch.images.data<float>() + row * form.channels * picture.pixels();
  for (std::int64_t channel = 0; channel < form.channels; ++channel) {
    const double deviation = form.deviation[static_cast<std::size_t>(channel)];
    const auto factor = static_cast<float>(1 / deviation),
               offset = static_cast<float>(-form.mean[static_cast<std::size_t>(channel)] / deviation);
    for (const float value : picture.plane(channel)) *to++ = value * factor + offset;
  }
  std::int64_t* const labels = batch.labels.data<std::int64_t>();
  if (form.is_dense) {
    std::copy(picture.classes.begin(), picture.classes.end(), labels + row * picture.pixels());
  } else {
    labels[row] = example.label;
  }
}

namespace {

void require_channels(Picture& picture, const ImageSetParts& parts, const PictureSource& source, std::int64_t index) {
  if (parts.converts_channels) {
    convert_channels(picture, parts.form.channels);
  } else if (picture.channels != parts.form.channels) {
    throw DataError(
        fmt::format("{} has {} channel{}, the first training picture has {}; set colour: rgb or colour: grey, or "
                    "skip_corrupt: true",
                    source.name(index), picture.channels, picture.channels == 1 ? "" : "s", parts.form.channels));
  }
}

}  // namespace

Example ImageSet::training_example(std::int64_t number) const {
  std::int64_t place = number;
  if (parts_.order != ImageOrder::fresh) {
    const std::int64_t count = parts_.training->size();
    place = number % count;
    if (parts_.order == ImageOrder::shuffled) place = permuted(order_, number / count, place, count);
  }
  Example example = parts_.training->example(place);
  require_channels(example.picture, parts_, *parts_.training, place);
  Chances chances(augmentation_, number);
  bool has_size = false;
  for (const auto& augmentation : parts_.augmentations) {
    if (!has_size && !augmentation->gives_size()) fit(example.picture);
    has_size = true;
    augmentation->apply(example.picture, parts_.form, chances);
  }
  if (!has_size) fit(example.picture);
  return example;
}

// One draw decides which of the list's mixings, if any, a batch undergoes.
void ImageSet::mix(std::int64_t step, ImageBatch& batch) const {
  Chances chances(mixing_, step);
  double draw = chances.uniform();
  for (const auto& augmentation : parts_.augmentations) {
    draw -= augmentation->mixed_share();
    if (augmentation->mixed_share() == 0 || draw >= 0) continue;
    const std::int64_t rows = batch.labels.shape()[0];
    batch.soft_labels = Tensor::zeros({rows, parts_.form.classes});
    for (std::int64_t row = 0; row < rows; ++row) {
      batch.soft_labels.data<float>()[row * parts_.form.classes + batch.labels.data<std::int64_t>()[row]] = 1;
    }
    augmentation->mix(batch, chances);
    return;
  }
}

ImageBatch ImageSet::training_images(std::int64_t step, std::int64_t batch) const {
  check_invariant(step >= 0 && batch >= 1, "a batch of a negative step or without rows");
  ImageBatch result = empty_batch(batch);
  if (ShapeOnly::active()) return result;
  for (std::int64_t row = 0; row < batch; ++row) write(training_example(step * batch + row), row, result);
  mix(step, result);
  return result;
}

std::int64_t ImageSet::held_out_batches(std::int64_t batch, std::int64_t limit) const {
  check_invariant(batch >= 1, "a held-out batch without rows");
  const std::int64_t count = parts_.held_out ? parts_.held_out->size() : 0;
  const std::int64_t batches = count / batch + (count % batch != 0 ? 1 : 0);
  return limit > 0 ? std::min(limit, batches) : batches;
}

ImageBatch ImageSet::held_out_images(std::int64_t index, std::int64_t batch) const {
  check_invariant(index >= 0 && index < held_out_batches(batch, 0), "a held-out batch behind the end");
  const std::int64_t first = index * batch, rows = std::min(batch, parts_.held_out->size() - first);
  ImageBatch result = empty_batch(rows);
  if (ShapeOnly::active()) return result;
  for (std::int64_t row = 0; row < rows; ++row) {
    Example example = parts_.held_out->example(first + row);
    require_channels(example.picture, parts_, *parts_.held_out, first + row);
    fit(example.picture);
    write(example, row, result);
  }
  return result;
}

std::string ImageSet::describe() const {
  const ImageForm& form = parts_.form;
  const std::string training =
      parts_.order == ImageOrder::fresh ? "ever new" : fmt::format("{}", parts_.training->size());
  return fmt::format("{}: {} training and {} held-out images of {} x {} x {}, {} classes{}{}", parts_.kind, training,
                     parts_.held_out ? parts_.held_out->size() : 0, form.channels, form.height, form.width,
                     form.classes, form.is_dense ? " of pixels" : "",
                     parts_.details.empty() ? "" : "; " + parts_.details);
}

}  // namespace rwkvlab
