#include "data/images/image_params.h"

#include "base/error.h"
#include "data/images/background_images.h"

namespace rwkvlab {
namespace {

std::vector<double> per_channel(const std::vector<double>& values, std::int64_t channels, const char* key) {
  if (values.size() == 1) return std::vector<double>(static_cast<std::size_t>(channels), values[0]);
  if (static_cast<std::int64_t>(values.size()) != channels) {
    throw ConfigError(
        fmt::format("{} has {} numbers, but the images have {} channel{}; expected one number, or one "
                    "for each channel",
                    key, values.size(), channels, channels == 1 ? "" : "s"));
  }
  return values;
}

ImageOrder order_named(const std::string& name) {
  if (name == "in_turn") return ImageOrder::in_turn;
  return name == "fresh" ? ImageOrder::fresh : ImageOrder::shuffled;
}

std::string listed(const std::vector<Choice>& choices) {
  std::string text;
  for (const Choice& choice : choices) text += (text.empty() ? "augmented by " : ", ") + choice.kind;
  return text;
}

void append(std::string& details, const std::string& more) {
  if (!more.empty()) details += (details.empty() ? "" : "; ") + more;
}

}  // namespace

std::unique_ptr<DataSet> make_image_set(const ImageParams& p, std::uint64_t seed, ImageSetParts parts) {
  ImageForm& form = parts.form;
  form.mean = per_channel(p.mean, form.channels, "mean");
  form.deviation = per_channel(p.deviation, form.channels, "deviation");
  parts.augmentations = make_augmentations(p.augment, form);
  append(parts.details, listed(p.augment));
  parts.order = order_named(p.order);
  parts.seed = p.seed.value_or(seed);
  auto data = std::make_unique<ImageSet>(std::move(parts));
  if (!p.background) return data;
  return in_background(std::move(data));
}

std::unique_ptr<DataSet> make_file_set(const FileImageParams& p, std::uint64_t seed, const LoadedPictures& training,
                                       const std::optional<LoadedPictures>& held_out, ImageSetParts parts) {
  const Picture first = training.source->example(0).picture;
  ImageForm& form = parts.form;
  form.channels = p.colour == "as_stored" ? first.channels : p.colour == "rgb" ? 3 : 1;
  parts.converts_channels = p.colour != "as_stored";
  form.height = p.size.empty() ? first.height : p.size.front();
  form.width = p.size.empty() ? first.width : p.size.back();
  if (p.size.empty() && training.height == 0) {
    throw ConfigError(
        fmt::format("the images are files, which may differ in size; set size: [height, width] (the first "
                    "one has {} x {})",
                    first.height, first.width));
  }
  parts.crop_share = p.crop_share;
  parts.interpolation = interpolation_named(p.interpolation);
  parts.training = training.source;
  if (held_out) parts.held_out = held_out->source;
  const std::int64_t skipped = training.skipped + (held_out ? held_out->skipped : 0);
  if (p.skip_corrupt)
    append(parts.details, fmt::format("{} damaged image{} skipped", skipped, skipped == 1 ? "" : "s"));
  return make_image_set(p, seed, std::move(parts));
}

}  // namespace rwkvlab
