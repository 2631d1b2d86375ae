// What the mixers of RWKV-4 to RWKV-7 share: projections that see token-shifted input.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "autograd/ops/token_shift.h"
#include "base/error.h"
#include "blocks/mixer.h"
#include "blocks/token_step.h"
#include "kernels/heads.h"
#include "nn/layers.h"

namespace rwkvlab {

/// The official optimiser rules: mixes, decay and bonus learn faster in the warm-up stage, decay and the bonus
/// `time_first` always.
inline constexpr ParameterRules mix_rules = {1, 5, false};
inline constexpr ParameterRules decay_rules = {2, 5, false};
inline constexpr ParameterRules bonus_rules = {3, 5, false};
/// Of the mixes of RWKV-7: no rate of their own, in no stage.
inline constexpr ParameterRules plain_rules = {1, 1, false};

/// scale · (i / width)^power + offset, the initial mix of channel i.
inline Initialiser mix_ramp(std::int64_t width, double power, double offset = 0, double scale = 1) {
  return initialise::from_index([=](std::int64_t i) {
    return scale * std::pow(static_cast<double>(i) / static_cast<double>(width), power) + offset;
  });
}

/// A mixer whose projections see blends of every token with its predecessor, or with the tokens that the context's
/// token shift names. With shift off, every projection sees x itself. State "x" [width]: the last input; a token shift
/// of the context takes its place.
class ShiftedMixer : public Mixer {
 protected:
  ShiftedMixer(const MixerSite& site, bool token_shift, MixedToken weighs = MixedToken::current)
      : width_(site.width), token_shift_(token_shift), weighs_(weighs) {
    if (token_shift_) state("x", {width_});
  }
  void add_mix(const std::string& name, Initialiser initial, const ParameterRules& rules = mix_rules) {
    if (token_shift_) mixes_.push_back(&parameter(name, {1, 1, width_}, std::move(initial), rules));
    ++mix_count_;
  }
  std::vector<Var> mix_values() const {
    std::vector<Var> values;
    for (const Parameter* const mix : mixes_) values.push_back(mix->var);
    return values;
  }
  /// The blends, in the order of add_mix.
  std::vector<Var> shifted(const Var& x, const ForwardContext& context) const {
    if (!token_shift_) return std::vector<Var>(mix_count_, x);
    std::vector<Var> blends = token_mix(x, carried(context), mix_values(), weighs_, context.token_shift);
    carry(x, context);
    return blends;
  }
  /// What the layers make of the blends, in the order of add_mix.
  std::vector<Var> projected(const Var& x, const std::vector<const Linear*>& layers,
                             const ForwardContext& context) const {
    if (!token_shift_) return forward_each(layers, std::vector<Var>(layers.size(), x), context);
    std::vector<Var> results =
        forward_mixed(layers, {x, carried(context), mix_values(), weighs_, context.token_shift}, context);
    carry(x, context);
    return results;
  }
  /// The token before the first; ShapeError where the context has a token shift, which sees all tokens at once.
  Var carried(const ForwardContext& context) const {
    if (context.token_shift == nullptr) return read_state(context, "x");
    if (context.state_in != nullptr || wants_state(context)) {
      throw ShapeError("a token shift across an image cannot carry a state");
    }
    return {};
  }
  /// Leaves the last token for the next chunk.
  void carry(const Var& x, const ForwardContext& context) const {
    if (wants_state(context)) write_state(context, "x", last_token(x));
  }
  /// Lines of memory that step_blends() takes for so many sequences.
  std::int64_t blend_lines(std::int64_t sequences) const {
    return token_shift_ ? static_cast<std::int64_t>(mix_count_) * StepMemory::lines(sequences * width_) : 0;
  }
  /// The blends of a step (token_step.h), each [sequences, width].
  std::vector<const float*> step_blends(const Var& x, const ForwardContext& context, StepMemory& memory) const {
    const float* const now = x.value().data<float>();
    if (!token_shift_) return std::vector<const float*>(mix_count_, now);
    const std::int64_t sequences = x.shape()[0];
    const Var previous = read_state(context, "x");
    const float* const before = previous.value().data<float>();
    std::vector<const float*> blends, weights;
    blends.reserve(mix_count_), weights.reserve(mix_count_);
    ask_for(before, sequences * width_);
    for (const Parameter* const mix : mixes_) {
      weights.push_back(mix->var.value().data<float>());
      ask_for(weights.back(), width_);
    }
    for (const float* const weight : weights) {
      float* const blend = memory.take(sequences * width_);
      for (std::int64_t i = 0; i < sequences * width_; i += width_) {
        if (weighs_ == MixedToken::current) {
          kernels::lerp_forward<float>(width_, before + i, now + i, weight, blend + i);
        } else {
          kernels::lerp_forward<float>(width_, now + i, before + i, weight, blend + i);
        }
      }
      blends.push_back(blend);
    }
    write_state(context, "x", Var(x.value().reshaped({sequences, width_})));
    return blends;
  }
  std::int64_t width_;

 private:
  bool token_shift_;
  MixedToken weighs_;
  std::vector<Parameter*> mixes_;
  std::size_t mix_count_ = 0;
};

}  // namespace rwkvlab
