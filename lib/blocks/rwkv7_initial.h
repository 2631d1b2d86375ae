// Sizes and initial values of RWKV-7's time mix, as the official training code chooses them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace rwkvlab {

/// Inner widths of the adapters.
struct Rwkv7Ranks {
  std::int64_t decay = 0, rate = 0, value = 0, gate = 0;
};

/// `given`, where a rank that is 0 follows from the model's width D: 2.5 √D for decay and rate, 1.7 √D for the value,
/// 5 √D for the gate; with `first_rule` 1.8 √D, 1.3 √D and 0.6 D^0.8. In whole multiples of 32, ties to the even one.
inline Rwkv7Ranks rwkv7_ranks(const Rwkv7Ranks& given, bool first_rule, std::int64_t width) {
  const double channels = static_cast<double>(width), root = std::sqrt(channels);
  const auto or_rule = [](std::int64_t rank, double rule) {
    if (rank > 0) return rank;
    return std::max<std::int64_t>(32, 32 * static_cast<std::int64_t>(std::nearbyint(rule / 32)));
  };
  const double narrow = (first_rule ? 1.8 : 2.5) * root;
  return {or_rule(given.decay, narrow), or_rule(given.rate, narrow),
          or_rule(given.value, (first_rule ? 1.3 : 1.7) * root),
          or_rule(given.gate, first_rule ? 0.6 * std::pow(channels, 0.8) : 5 * root)};
}

/// Channels of a layer as the initial values see them. With one value per head, a head's middle stands for all of it.
struct Rwkv7Ramps {
  std::int64_t width, head_size;
  bool per_head;

  double channel(std::int64_t index) const {
    return per_head ? static_cast<double>(index * head_size) + middle() : static_cast<double>(index);
  }
  /// From 0 to 1 over the channels.
  double ramp(std::int64_t index) const {
    return channel(index) / static_cast<double>(std::max<std::int64_t>(width - 1, 1));
  }
  /// From -0.5 to 0.5.
  double line(std::int64_t index) const { return ramp(index) - 0.5; }
  /// z |z|, z from -1 to 1 within a head.
  double zigzag(std::int64_t index) const {
    if (per_head || head_size == 1) return 0;
    const double z = (static_cast<double>(index % head_size) - middle()) / middle();
    return z * std::abs(z);
  }
  double middle() const { return static_cast<double>(head_size - 1) / 2; }
};

}  // namespace rwkvlab
