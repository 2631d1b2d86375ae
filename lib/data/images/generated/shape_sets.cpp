// The data sets `textured_shapes` (one label per image) and `shape_segmentation` (one per pixel).
#include <fmt/format.h>

#include "base/error.h"
#include "data/images/generated/generated_pictures.h"
#include "data/images/generated/shapes.h"

namespace rwkvlab {
namespace {

constexpr std::int64_t shapes = std::int64_t{shape_names.size()}, textures = std::int64_t{texture_names.size()};

struct CommonParams : GeneratedImageParams {
  std::int64_t size = 32, channels = 3;
  double noise = 0.05;
};

// Noise in the unit of add_noise; `noise` is in parts of the whole range.
std::int64_t deviation_of(double noise) { return static_cast<std::int64_t>(noise * 255 * 256); }

class ShapeGenerator : public PictureGenerator {
 public:
  explicit ShapeGenerator(const CommonParams& p)
      : size_(p.size), channels_(p.channels), deviation_(deviation_of(p.noise)) {}
  std::int64_t channels() const override { return channels_; }
  std::int64_t height() const override { return size_; }
  std::int64_t width() const override { return size_; }

 protected:
  std::int64_t size_, channels_, deviation_;
};

void paint_all(BytePicture& picture, const Surface& surface) {
  paint(picture, surface, [](std::int64_t, std::int64_t) { return true; });
}

template <class P>
void describe_common(Fields<P>& f) {
  f.add("size", own<P>(&CommonParams::size), "height and width", between(12, 4096)).unit("pixels");
  f.add("channels", own<P>(&CommonParams::channels), "3: colours; 1: grey", between(1, 3));
  f.add("noise", own<P>(&CommonParams::noise), "standard deviation of the noise; 1 is the whole range of values",
        between(0, 0.5));
  describe_generated_images(f);
  f.check([](const P& p) { return p.channels != 2 ? "" : std::string("channels is 2, expected 1 or 3"); }, "channels");
}

struct TexturedParams : CommonParams {
  // Not an aggregate: GCC 12 warns falsely of uninitialised strings in one.
  TexturedParams() : label("shape") {}
  std::string label;
};

class TexturedShapes final : public ShapeGenerator {
 public:
  explicit TexturedShapes(const TexturedParams& p) : ShapeGenerator(p), label_(p.label) {}
  std::int64_t classes() const override {
    return label_ == "shape" ? shapes : label_ == "texture" ? textures : shapes * textures;
  }
  std::string details() const override { return "label: " + label_; }

  std::int64_t generate(Draws& draws, BytePicture& picture, std::span<std::int32_t>) const override {
    const std::int64_t shape = draws.below(shapes), texture = draws.below(textures);
    // Any other texture, so that the shape shows.
    const std::int64_t behind = (texture + 1 + draws.below(textures - 1)) % textures;
    paint_all(picture, draw_surface(behind, draws));
    const PlacedShape place = draw_place(shape, size_, size_, size_ / 4, size_ * 7 / 16, draws);
    paint(picture, draw_surface(texture, draws),
          [&place](std::int64_t row, std::int64_t column) { return place.covers(row, column); });
    add_noise(picture, deviation_, draws);
    if (label_ == "shape") return shape;
    return label_ == "texture" ? texture : shape * textures + texture;
  }

 private:
  std::string label_;
};

void describe_textured(Fields<TexturedParams>& f) {
  f.doc(
      fmt::format("One shape on a ground, both with a texture of two random colours, at any place, size and angle. "
                  "Shapes: {}. Textures: {}.",
                  fmt::join(shape_names, ", "), fmt::join(texture_names, ", ")));
  f.add("label", &TexturedParams::label, "what is to be told",
        one_of({{"shape", "8 classes"}, {"texture", "that of the shape, 5 classes"}, {"both", "40 classes"}}));
  describe_common(f);
}

struct SegmentationParams : CommonParams {
  std::int64_t shapes = 4;
};

class ShapeSegmentation final : public ShapeGenerator {
 public:
  explicit ShapeSegmentation(const SegmentationParams& p) : ShapeGenerator(p), shapes_(p.shapes) {}
  std::int64_t classes() const override { return shapes + 1; }
  bool is_dense() const override { return true; }

  std::int64_t generate(Draws& draws, BytePicture& picture, std::span<std::int32_t> classes) const override {
    paint_all(picture, draw_surface(draws.below(textures), draws));
    const std::int64_t count = draws.between(1, shapes_);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t kind = draws.below(shapes);
      const PlacedShape place = draw_place(kind, size_, size_, size_ / 8, size_ / 4, draws);
      paint(picture, draw_surface(draws.below(textures), draws), [&](std::int64_t row, std::int64_t column) {
        const bool is_covered = place.covers(row, column);
        if (is_covered) classes[static_cast<std::size_t>(row * size_ + column)] = static_cast<std::int32_t>(kind + 1);
        return is_covered;
      });
    }
    add_noise(picture, deviation_, draws);
    return 0;
  }

 private:
  std::int64_t shapes_;
};

void describe_segmentation(Fields<SegmentationParams>& f) {
  f.doc(
      fmt::format("Several shapes with textures on a ground, later ones over earlier ones. The class of a pixel is 0 "
                  "for the ground or the kind of the shape on top: {}.",
                  fmt::join(shape_names, ", ")));
  f.add("shapes", &SegmentationParams::shapes, "largest number of shapes of an image; at least one", between(1, 64));
  describe_common(f);
}

const auto textured = generated_kind<TexturedShapes, TexturedParams>("textured_shapes", describe_textured);
const auto segmentation =
    generated_kind<ShapeSegmentation, SegmentationParams>("shape_segmentation", describe_segmentation);

}  // namespace
}  // namespace rwkvlab
