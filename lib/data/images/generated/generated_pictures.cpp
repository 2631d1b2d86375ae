#include "data/images/generated/generated_pictures.h"

#include <algorithm>

#include "base/error.h"

namespace rwkvlab {
namespace {

// Picture i depends on (seed, kind, training or held out, i) alone.
class GeneratedPictures final : public PictureSource {
 public:
  GeneratedPictures(std::shared_ptr<const PictureGenerator> generator, std::int64_t count, bool is_dense,
                    std::uint64_t seed, const std::string& stream)
      : generator_(std::move(generator)), count_(count), is_dense_(is_dense), random_(seed, stream) {}

  std::int64_t size() const override { return count_; }
  // Also behind the end: the order `fresh` goes on for ever.
  Example example(std::int64_t index) const override {
    check_invariant(index >= 0 && index < std::int64_t{1} << 32, "more pictures than there are random streams");
    const std::int64_t pixels = generator_->height() * generator_->width();
    BytePicture bytes{generator_->channels(), generator_->height(), generator_->width(), {}};
    bytes.values.resize(static_cast<std::size_t>(bytes.channels * pixels));
    std::vector<std::int32_t> classes(static_cast<std::size_t>(is_dense_ ? pixels : 0));
    Draws draws(random_, index);
    Example example;
    example.label = generator_->generate(draws, bytes, classes);
    example.picture = to_floats(bytes);
    example.picture.classes = std::move(classes);
    return example;
  }

 private:
  std::shared_ptr<const PictureGenerator> generator_;
  std::int64_t count_;
  bool is_dense_;
  RandomStream random_;
};

}  // namespace

void add_noise(BytePicture& picture, std::int64_t deviation, Draws& draws) {
  if (deviation == 0) return;
  // Four numbers of seven bits: mean 254, variance 4 (128^2 - 1) / 12, standard deviation 73.9 = 18918 / 256.
  constexpr std::int64_t of_sum = 18918;
  std::int64_t bits = 0;
  for (std::size_t i = 0; i < picture.values.size(); ++i) {
    if (i % 2 == 0) bits = draws.below(std::int64_t{1} << 56);
    std::int64_t sum = 0;
    for (int number = 0; number < 4; ++number, bits >>= 7) sum += bits & 127;
    const std::int64_t scaled = (sum - 254) * deviation;
    const std::int64_t noise = (scaled + (scaled < 0 ? -of_sum / 2 : of_sum / 2)) / of_sum;
    picture.values[i] = static_cast<std::uint8_t>(std::clamp<std::int64_t>(picture.values[i] + noise, 0, 255));
  }
}

std::unique_ptr<DataSet> make_generated_set(const GeneratedImageParams& p, const DataSite& site, const char* kind,
                                            std::shared_ptr<const PictureGenerator> generator) {
  ImageSetParts parts;
  parts.kind = kind;
  parts.details = generator->details();
  parts.form.classes = generator->classes();
  parts.form.is_dense = generator->is_dense();
  const std::uint64_t seed = p.seed.value_or(site.seed);
  const auto source = [&](std::int64_t count, const char* split) {
    return std::make_shared<const GeneratedPictures>(generator, count, parts.form.is_dense, seed,
                                                     "data." + parts.kind + "." + split);
  };
  parts.training = source(p.images, "training");
  if (p.held_out_images > 0) parts.held_out = source(p.held_out_images, "held_out");
  parts.form.channels = generator->channels();
  parts.form.height = generator->height();
  parts.form.width = generator->width();
  return make_image_set(p, site.seed, std::move(parts));
}

}  // namespace rwkvlab
