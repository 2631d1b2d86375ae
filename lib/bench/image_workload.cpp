#include "bench/image_workload.h"

#include <fmt/format.h>

#include <map>
#include <mutex>

#include "base/random.h"
#include "config/yaml_reader.h"

namespace rwkvlab {
namespace {

constexpr std::int64_t colours = 3, thousand_classes = 1000;

class RandomImages final : public ImageDataSet {
 public:
  RandomImages(std::int64_t height, std::int64_t width) : height_(height), width_(width) {}
  std::string describe() const override { return fmt::format("random images of {} x {} pixels", height_, width_); }
  std::int64_t channels() const override { return colours; }
  std::int64_t height() const override { return height_; }
  std::int64_t width() const override { return width_; }
  std::int64_t classes() const override { return thousand_classes; }
  std::int64_t training_images_count() const override { return 0; }
  std::int64_t held_out_batches(std::int64_t, std::int64_t) const override { return 0; }
  ImageBatch held_out_images(std::int64_t index, std::int64_t batch) const override {
    return training_images(index, batch);
  }

  // The same for every step, made once: what is measured is the model.
  ImageBatch training_images(std::int64_t /*step*/, std::int64_t batch) const override {
    const std::lock_guard<std::mutex> lock(mutex_);
    ImageBatch& made = made_[batch];
    if (made.images.defined()) return made;
    const RandomStream random(1, "images");
    made.images = Tensor::empty({batch, colours, height_, width_});
    made.labels = Tensor::empty({batch}, DType::i64);
    std::uint64_t index = 0;
    for (float& value : made.images.span<float>()) value = static_cast<float>(2 * random.uniform(index++) - 1);
    for (std::int64_t& label : made.labels.span<std::int64_t>())
      label = static_cast<std::int64_t>(random.below(index++, thousand_classes));
    return made;
  }

 private:
  std::int64_t height_, width_;
  mutable std::mutex mutex_;
  mutable std::map<std::int64_t, ImageBatch> made_;
};

Choice classifier(const char* mixes) {
  const std::string yaml = fmt::format("{{layers: 12, width: 192, patch_size: 16, classes: 1000, {}}}", mixes);
  return make_choice("model", "image_classifier", parse_yaml(yaml, "benchmark"));
}

}  // namespace

std::unique_ptr<ImageDataSet> random_images(std::int64_t height, std::int64_t width) {
  return std::make_unique<RandomImages>(height, width);
}

const std::vector<NamedImageModel>& named_image_models() {
  static const std::vector<NamedImageModel> models = {
      {"vrwkv-tiny", [] { return classifier("time_mix: {kind: vision_rwkv}, channel_mix: {kind: vision_rwkv}"); }},
      {"vrwkv6-tiny", [] { return classifier("time_mix: {kind: vision_rwkv6}, channel_mix: {kind: vision_rwkv6}"); }},
      {"vit-tiny", [] {
         return classifier(
             "time_mix: {kind: attention, causal: false, positions: none, head_size: 64, bias: true}, channel_mix: "
             "{kind: gelu_mlp, bias: true}, embedding_norm: false, position_deviation: 0.02");
       }}};
  return models;
}

}  // namespace rwkvlab
