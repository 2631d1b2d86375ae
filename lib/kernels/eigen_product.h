// Double-precision products, for tests.
#pragma once

#include "kernels/onednn.h"

namespace rwkvlab::kernels {

/// The product, by Eigen, on one thread.
void eigen_product(const SerialProduct& product, const double* a, const double* b, double* c);

}  // namespace rwkvlab::kernels
