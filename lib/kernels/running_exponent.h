// Sums of exponentials that are held as a e^p, so that no bare exponential is formed: how the exponent p moves on.
// Included by this folder's sources only.
#pragma once

#include <cmath>

#include "kernels/clones.h"
#include "kernels/vector_math.h"

namespace rwkvlab::kernels {

/// e^(x - max(x, y)) and e^(y - max(x, y)) from x - y: one of them is 1, so one exponential gives both.
template <class Real>
struct Weights {
  Real x, y;
};
template <class Real>
RWKVLAB_INLINE Weights<Real> softmax_pair(Real difference) {
  const Real smaller = vector_exp_nonpositive(-std::fabs(difference));
  return {difference >= 0 ? Real(1) : smaller, difference >= 0 ? smaller : Real(1)};
}

/// One step of the running exponent, p = max(p + w, k). It is held as p + rest: in float, p of size 1000 moves in steps
/// of 6e-5, and a decay below that would be lost, the same way in every token. `rest` is what rounding took from p.
template <class Real>
struct Step {
  Weights<Real> weights;  ///< of the old state and of the new token
  Real p, rest;
};
template <class Real>
RWKVLAB_INLINE Step<Real> advance(Real p, Real rest, Real w, Real k) {
  const Real change = w + rest;
  const Real moved = p + change;
  const Real lost = change - (moved - p);
  const Real difference = (moved - k) + lost;
  const bool keeps = difference >= 0;
  return {softmax_pair(difference), keeps ? moved : k, keeps ? lost : Real(0)};
}

}  // namespace rwkvlab::kernels
