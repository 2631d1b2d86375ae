// How far two tensors are apart, whatever their types.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/tensor.h"

namespace rwkvlab::test {

/// The largest difference of two elements, relative to the largest magnitude in b.
inline double largest_difference(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_doubles(), y = b.to_doubles();
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    difference = std::max(difference, std::fabs(x[i] - y[i]));
    size = std::max(size, std::fabs(y[i]));
  }
  return difference / size;
}

}  // namespace rwkvlab::test
