// The effective receptive field: which pixels what stands in the middle of an image depends on.
#pragma once

#include <array>
#include <vector>

#include "models/image_backbone.h"

namespace rwkvlab {

/// How much every pixel contributes to the middle of the feature map f = LN(last layer), [height, width] in row-major
/// order: with s = Σ_channels max(f, 0) at row ⌊rows / 2⌋ and column ⌊columns / 2⌋, the sum over the images and colours
/// of max(∂s/∂pixel, 0) (Luo et al., arXiv:1701.04128, in the form of arXiv:2203.06717). images: a constant [batch,
/// channels, height, width].
std::vector<double> receptive_field(const ImageBackbone& backbone, const Var& images);

/// log10(contribution + 1) divided by its largest value, which is what is drawn.
std::vector<double> receptive_field_map(const std::vector<double>& contribution);

/// Side in pixels of the smallest square around the middle, of odd side, that holds at least this share of all
/// contributions; the shorter side of the image bounds nothing. 0 where nothing contributes.
std::int64_t receptive_field_side(const std::vector<double>& contribution, std::int64_t height, std::int64_t width,
                                  double share);

}  // namespace rwkvlab
