#include "models/receptive_field.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace rwkvlab {
namespace {

// 1 for the positive features of the token in the middle: the gradient of s.
Tensor middle_seed(const Tensor& features, const TokenGrid& grid) {
  const Tensor seed = Tensor::zeros(features.shape(), features.dtype());
  const std::int64_t middle = grid.rows / 2 * grid.columns + grid.columns / 2;
  const std::int64_t batch = features.shape()[0], time = features.shape()[1], channels = features.shape()[2];
  for_real(features.dtype(), [&]<class Real>(Real) {
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t i = (b * time + middle) * channels; i < (b * time + middle + 1) * channels; ++i)
        seed.data<Real>()[i] = features.data<Real>()[i] > 0 ? Real(1) : Real(0);
    }
  });
  return seed;
}

}  // namespace

std::vector<double> receptive_field(const ImageBackbone& backbone, const Var& images) {
  const Var pixels = Var::leaf(images.value());
  {
    Tape tape;
    const ImageFeatures features = backbone.forward(pixels, {});
    tape.backward({features.tokens}, {middle_seed(features.tokens.value(), features.grid)});
  }
  for (Parameter* const parameter : backbone.parameters()) parameter->var.clear_grad();
  const Shape& shape = pixels.shape();
  const std::int64_t plane = shape[2] * shape[3];
  std::vector<double> contribution(static_cast<std::size_t>(plane), 0.0);
  if (!pixels.grad().defined()) return contribution;
  const std::vector<double> gradient = pixels.grad().to_doubles();
  for (std::size_t i = 0; i < gradient.size(); ++i)
    contribution[i % static_cast<std::size_t>(plane)] += std::max(gradient[i], 0.0);
  return contribution;
}

std::vector<double> receptive_field_map(const std::vector<double>& contribution) {
  std::vector<double> map(contribution.size());
  double largest = 0;
  for (std::size_t i = 0; i < map.size(); ++i) {
    map[i] = std::log10(contribution[i] + 1);
    largest = std::max(largest, map[i]);
  }
  for (double& value : map) value = largest > 0 ? value / largest : 0;
  return map;
}

std::int64_t receptive_field_side(const std::vector<double>& contribution, std::int64_t height, std::int64_t width,
                                  double share) {
  check_invariant(static_cast<std::int64_t>(contribution.size()) == height * width, "one number per pixel");
  const double all = std::accumulate(contribution.begin(), contribution.end(), 0.0);
  if (all <= 0) return 0;
  for (std::int64_t reach = 0;; ++reach) {
    const std::int64_t top = std::max<std::int64_t>(0, height / 2 - reach),
                       left = std::max<std::int64_t>(0, width / 2 - reach);
    const std::int64_t bottom = std::min(height - 1, height / 2 + reach),
                       right = std::min(width - 1, width / 2 + reach);
    double inside = 0;
    for (std::int64_t row = top; row <= bottom; ++row) {
      for (std::int64_t column = left; column <= right; ++column)
        inside += contribution[static_cast<std::size_t>(row * width + column)];
    }
    const bool is_whole = top == 0 && left == 0 && bottom == height - 1 && right == width - 1;
    if (inside >= share * all || is_whole) return 2 * reach + 1;
  }
}

}  // namespace rwkvlab
