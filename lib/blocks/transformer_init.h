// Initial values and head sizes that the blocks of Transformers share.
#pragma once

#include <cmath>

#include "blocks/mixer.h"
#include "nn/initialise.h"

namespace rwkvlab {

/// The default deviation of initial projections: GPT-2's (Radford et al., 2019).
inline constexpr double gpt2_deviation = 0.02;

/// N(0, deviation² / (2 layers)), for projections that end a residual branch, so that the stream's variance does not
/// grow with the depth (Radford et al., 2019, section 2.3).
inline Initialiser branch_end(double deviation, const MixerSite& site) {
  return initialise::normal(deviation / std::sqrt(2.0 * site.layers));
}

/// A member of a base of Params as a member of Params, which is what Fields<Params> takes.
template <class Params, class Base, class Member>
constexpr Member Params::*member_of(Member Base::*member) {
  return static_cast<Member Params::*>(member);
}

}  // namespace rwkvlab
