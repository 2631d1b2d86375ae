// Double-precision products, for tests.
#pragma once

#include "kernels/matmul.h"
#include "kernels/onednn.h"

namespace rwkvlab::kernels {

/// One matrix of `call`, by Eigen, on one thread.
void eigen_product(const MatmulCall& call, const double* a, const double* b, double* c);

/// The same for a product whose stored rows may lie apart.
void eigen_product(const SerialProduct& product, const double* a, const double* b, double* c);

}  // namespace rwkvlab::kernels
