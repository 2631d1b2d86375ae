// Images as patches, and grids of values at another size.
#pragma once

#include <vector>

#include "kernels/sizes.h"

namespace rwkvlab::kernels {

/// Images [batch, channels, height, width] cut into squares of `patch` pixels, row by row; where the patch does not
/// divide a side, zeros follow at the bottom and on the right.
struct PatchSize {
  Index batch = 0, channels = 0, height = 0, width = 0, patch = 1;
  Index rows() const { return (height + patch - 1) / patch; }
  Index columns() const { return (width + patch - 1) / patch; }
  /// Values of one patch: channels, then rows, then columns.
  Index values() const { return channels * patch * patch; }
};

/// patches [batch, rows · columns, values] of the images.
template <class Real>
void cut_patches(const PatchSize& size, const Real* images, Real* patches);
/// The images that the patches are cut from, without the padding: the gradient of cut_patches.
template <class Real>
void join_patches(const PatchSize& size, const Real* patches, Real* images);

/// Every output position along one axis as a weighted sum of input positions: output i has the terms [begin[i], begin[i
/// + 1]).
struct AxisWeights {
  Index inputs = 0;
  std::vector<Index> begin = {0};
  std::vector<Index> input;
  std::vector<double> weight;
  Index outputs() const { return static_cast<Index>(begin.size()) - 1; }
  /// The same weights from outputs to inputs.
  AxisWeights transposed() const;
};

/// out[o, i, n] = Σ_terms weight · x[o, input, n]. x: [outer, inputs, inner]; out: [outer, outputs, inner].
template <class Real>
void weigh_axis(const AxisWeights& axis, Index outer, Index inner, const Real* x, Real* out);

}  // namespace rwkvlab::kernels
