// Pictures of a batch mixed with one another, and their labels with them: mixup and cutmix.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/images/augmentation.h"

namespace rwkvlab {
namespace {

struct Params {
  double alpha = 1;
  double probability = 0.5;
};

void describe_common(Fields<Params>& f) {
  f.add("alpha", &Params::alpha, "the share of the picture itself is drawn from Beta(alpha, alpha)",
        above(0) && at_most(1000));
  f.add("probability", &Params::probability,
        "share of the batches; with that of other mixing entries of the list at most 1, as a batch is mixed once",
        between(0, 1));
}

void describe_mixup(Fields<Params>& f) {
  f.doc("Mixup: each picture and label of a batch becomes share * itself + (1 - share) * another one of the batch.");
  f.paper("arXiv:1710.09412");
  describe_common(f);
}

void describe_cutmix(Fields<Params>& f) {
  f.doc(
      "CutMix: a rectangle of each picture is replaced by that of another one of the batch; the labels are mixed by "
      "area.");
  f.paper("arXiv:1905.04899");
  describe_common(f);
}

std::vector<std::int64_t> random_partners(std::int64_t count, Chances& chances) {
  std::vector<std::int64_t> partners(static_cast<std::size_t>(count));
  std::iota(partners.begin(), partners.end(), std::int64_t{0});
  for (std::int64_t i = count - 1; i > 0; --i) {
    std::swap(partners[static_cast<std::size_t>(i)], partners[static_cast<std::size_t>(chances.below(i + 1))]);
  }
  return partners;
}

// rows[i] <- share * rows[i] + (1 - share) * rows[partners[i]].
void mix_rows(const Tensor& rows, const std::vector<std::int64_t>& partners, double share) {
  const Tensor before = rows.clone();
  const auto size = static_cast<std::size_t>(rows.elements() / rows.shape()[0]);
  const std::span<float> to = rows.span<float>();
  const std::span<const float> from = before.span<float>();
  const auto own = static_cast<float>(share);
  for (std::size_t row = 0; row < partners.size(); ++row) {
    const std::span<const float> partner = from.subspan(static_cast<std::size_t>(partners[row]) * size, size);
    for (std::size_t i = 0; i < size; ++i) to[row * size + i] = own * to[row * size + i] + (1 - own) * partner[i];
  }
}

class Mixing : public Augmentation {
 public:
  explicit Mixing(const Params& p) : p_(p) {}
  std::string problem(const ImageForm& form) const override {
    if (form.is_dense) return "labels of pixels cannot be mixed";
    return form.classes > 0 ? "" : "there are no labels that could be mixed";
  }
  double mixed_share() const override { return p_.probability; }

 protected:
  Params p_;
};

class Mixup final : public Mixing {
 public:
  using Mixing::Mixing;
  void mix(ImageBatch& batch, Chances& chances) const override {
    const double share = chances.beta(p_.alpha);
    const std::vector<std::int64_t> partners = random_partners(batch.images.shape()[0], chances);
    mix_rows(batch.images, partners, share);
    mix_rows(batch.soft_labels, partners, share);
  }
};

class CutMix final : public Mixing {
 public:
  using Mixing::Mixing;
  void mix(ImageBatch& batch, Chances& chances) const override {
    const Shape& shape = batch.images.shape();
    const std::int64_t height = shape[2], width = shape[3];
    const double side = std::sqrt(1 - chances.beta(p_.alpha));
    const std::vector<std::int64_t> partners = random_partners(shape[0], chances);
    // The centre is anywhere, so a part of the rectangle may lie outside.
    const auto range = [&chances, side](std::int64_t length) {
      const std::int64_t half = static_cast<std::int64_t>(side * static_cast<double>(length)) / 2;
      const std::int64_t centre = chances.below(length);
      return std::pair{std::max<std::int64_t>(0, centre - half), std::min(length, centre + half)};
    };
    const auto [top, bottom] = range(height);
    const auto [left, right] = range(width);
    const Tensor before = batch.images.clone();
    const std::int64_t planes = shape[1];
    for (std::int64_t row = 0; row < shape[0]; ++row) {
      const float* const from =
          before.data<float>() + partners[static_cast<std::size_t>(row)] * planes * height * width;
      float* const to = batch.images.data<float>() + row * planes * height * width;
      for (std::int64_t line = 0; line < planes * height; ++line) {
        if (line % height < top || line % height >= bottom) continue;
        std::copy(from + line * width + left, from + line * width + right, to + line * width + left);
      }
    }
    const double cut = static_cast<double>((bottom - top) * (right - left)) / static_cast<double>(height * width);
    mix_rows(batch.soft_labels, partners, 1 - cut);
  }
};

const RegisterKind<Augmentation, Params> mixup(augmentation_slot, "mixup", describe_mixup,
                                               [](const Params& p) { return std::make_unique<Mixup>(p); });
const RegisterKind<Augmentation, Params> cutmix(augmentation_slot, "cutmix", describe_cutmix,
                                                [](const Params& p) { return std::make_unique<CutMix>(p); });

}  // namespace
}  // namespace rwkvlab
