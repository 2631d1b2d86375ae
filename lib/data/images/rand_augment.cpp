// RandAugment (arXiv:1909.13719): a few operations, drawn at random, all with about the same magnitude.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "base/nearest.h"
#include "data/images/augmentation.h"

namespace rwkvlab {
namespace {

using Fill = std::vector<double>;

void auto_contrast(Picture& picture, double, const Fill&) {
  for (std::int64_t channel = 0; channel < picture.channels; ++channel) {
    const std::span<float> plane = picture.plane(channel);
    const auto [low, high] = std::minmax_element(plane.begin(), plane.end());
    const float from = *low, range = *high - *low;
    if (range <= 0) continue;
    for (float& value : plane) value = (value - from) / range;
  }
}

// Every one of 256 levels becomes the share of pixels below it.
void equalize(Picture& picture, double, const Fill&) {
  for (std::int64_t channel = 0; channel < picture.channels; ++channel) {
    const std::span<float> plane = picture.plane(channel);
    std::array<std::int64_t, 257> below{};
    const auto level = [](float value) {
      return static_cast<std::size_t>(std::lround(std::clamp(value, 0.0F, 1.0F) * 255));
    };
    for (const float value : plane) ++below[level(value) + 1];
    for (std::size_t i = 1; i < below.size(); ++i) below[i] += below[i - 1];
    const std::int64_t all = below[256], last = all - below[level(*std::max_element(plane.begin(), plane.end()))];
    if (all == last) continue;  // One level only.
    for (float& value : plane) {
      value = std::min(1.0F, static_cast<float>(below[level(value)]) / static_cast<float>(all - last));
    }
  }
}

void invert(Picture& picture, double, const Fill&) {
  for (float& value : picture.values) value = 1 - value;
}

void posterize(Picture& picture, double bits, const Fill&) {
  const int drop = 8 - std::clamp(static_cast<int>(bits), 0, 8);
  for (float& value : picture.values) {
    const int level = static_cast<int>(std::lround(std::clamp(value, 0.0F, 1.0F) * 255));
    value = static_cast<float>(level >> drop << drop) / 255.0F;
  }
}

void solarize(Picture& picture, double threshold, const Fill&) {
  for (float& value : picture.values) value = static_cast<double>(value) * 255 >= threshold ? 1 - value : value;
}

void solarize_add(Picture& picture, double added, const Fill&) {
  for (float& value : picture.values) {
    if (value < 128.0F / 255) value = std::min(1.0F, value + static_cast<float>(added / 255));
  }
}

void rotate(Picture& picture, double degrees, const Fill& fill) {
  const double angle = degrees * std::numbers::pi / 180, c = std::cos(angle), s = std::sin(angle);
  picture = warped(picture, {c, -s, 0, s, c, 0}, fill);
}
void shear_x(Picture& picture, double by, const Fill& fill) { picture = warped(picture, {1, by, 0, 0, 1, 0}, fill); }
void shear_y(Picture& picture, double by, const Fill& fill) { picture = warped(picture, {1, 0, 0, by, 1, 0}, fill); }
void translate_x(Picture& picture, double share, const Fill& fill) {
  picture = warped(picture, {1, 0, share * static_cast<double>(picture.width), 0, 1, 0}, fill);
}
void translate_y(Picture& picture, double share, const Fill& fill) {
  picture = warped(picture, {1, 0, 0, 0, 1, share * static_cast<double>(picture.height)}, fill);
}

void brightness(Picture& picture, double by, const Fill&) { change_brightness(picture, 1 + by); }
void contrast(Picture& picture, double by, const Fill&) { change_contrast(picture, 1 + by); }
void saturation(Picture& picture, double by, const Fill&) { change_saturation(picture, 1 + by); }
void sharpness(Picture& picture, double by, const Fill&) { change_sharpness(picture, 1 + by); }

// The argument goes from `weakest` to `strongest` with the magnitude; that of a `signed` operation is negated half of
// the time. The ranges are those of the recipe of Vision-RWKV (arXiv:2403.02308).
struct Operation {
  const char* name;
  double weakest, strongest;
  bool is_signed, moves_pixels;
  void (*apply)(Picture&, double, const Fill&);
};

constexpr Operation operations[] = {{"auto_contrast", 0, 0, false, false, auto_contrast},
                                    {"equalize", 0, 0, false, false, equalize},
                                    {"invert", 0, 0, false, false, invert},
                                    {"rotate", 0, 30, true, true, rotate},
                                    {"posterize", 4, 0, false, false, posterize},
                                    {"solarize", 256, 0, false, false, solarize},
                                    {"solarize_add", 0, 110, false, false, solarize_add},
                                    {"saturation", 0, 0.9, true, false, saturation},
                                    {"contrast", 0, 0.9, true, false, contrast},
                                    {"brightness", 0, 0.9, true, false, brightness},
                                    {"sharpness", 0, 0.9, true, false, sharpness},
                                    {"shear_x", 0, 0.3, true, true, shear_x},
                                    {"shear_y", 0, 0.3, true, true, shear_y},
                                    {"translate_x", 0, 0.45, true, true, translate_x},
                                    {"translate_y", 0, 0.45, true, true, translate_y}};

std::vector<std::string> operation_names() {
  std::vector<std::string> names;
  for (const Operation& operation : operations) names.emplace_back(operation.name);
  return names;
}

struct Params {
  std::int64_t count = 2;
  double magnitude = 9, deviation = 0.5;
  std::vector<std::string> operations;
};

std::vector<const Operation*> chosen(const Params& p) {
  std::vector<const Operation*> result;
  for (const Operation& operation : operations) {
    const bool is_named = std::find(p.operations.begin(), p.operations.end(), operation.name) != p.operations.end();
    if (p.operations.empty() || is_named) result.push_back(&operation);
  }
  return result;
}

std::string problem_of_operations(const Params& p) {
  const std::vector<std::string> known = operation_names();
  for (const std::string& name : p.operations) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return fmt::format("there is no operation '{}'{}; expected some of: {}", name, did_you_mean(name, known),
                         fmt::join(known, ", "));
    }
  }
  return "";
}

void describe(Fields<Params>& f) {
  f.doc(
      "RandAugment: `count` operations drawn from a list, all with about the same magnitude. What moves in from "
      "outside "
      "has the mean of the data.");
  f.paper("arXiv:1909.13719");
  f.add("count", &Params::count, "operations per picture", between(1, 20));
  f.add("magnitude", &Params::magnitude, "strength; 10 is the strongest", between(0, 10));
  f.add("deviation", &Params::deviation, "standard deviation of the strength, which stays within 0 to 10",
        between(0, 10));
  f.add("operations", &Params::operations,
        fmt::format("the operations to draw from; left out: all ({})", fmt::join(operation_names(), ", ")));
  f.check(problem_of_operations, "operations");
}

class RandAugment final : public Augmentation {
 public:
  explicit RandAugment(const Params& p) : p_(p), operations_(chosen(p)) {}

  std::string problem(const ImageForm& form) const override {
    for (const Operation* const operation : operations_) {
      if (form.is_dense && operation->moves_pixels) {
        return fmt::format("'{}' moves pixels away from their labels; list the operations to use without it",
                           operation->name);
      }
    }
    return "";
  }

  void apply(Picture& picture, const ImageForm& form, Chances& chances) const override {
    for (std::int64_t i = 0; i < p_.count; ++i) {
      const Operation& operation =
          *operations_[static_cast<std::size_t>(chances.below(static_cast<std::int64_t>(operations_.size())))];
      const double magnitude = std::clamp(p_.magnitude + p_.deviation * chances.normal(), 0.0, 10.0) / 10;
      double argument = operation.weakest + (operation.strongest - operation.weakest) * magnitude;
      if (operation.is_signed && chances.happens(0.5)) argument = -argument;
      operation.apply(picture, argument, form.mean);
    }
  }

 private:
  Params p_;
  std::vector<const Operation*> operations_;
};

const RegisterKind<Augmentation, Params> registered(augmentation_slot, "rand_augment", describe,
                                                    [](const Params& p) { return std::make_unique<RandAugment>(p); });

}  // namespace
}  // namespace rwkvlab
