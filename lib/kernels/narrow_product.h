// Aᵀ B with a long sum and a narrow result: the gradients of low-rank weights, xᵀ dh and hᵀ dy. oneDNN, which packs
// both factors, reaches half its speed there (float32, 2048 tokens, two threads of a Zen 5, GFLOP/s of oneDNN and of
// this): [256 x 32] 190 and 430, [32 x 256] 230 and 400, [256 x 64] 205 and 450, [64 x 256] 240 and 430.
#pragma once

#include "kernels/matmul.h"

namespace rwkvlab::kernels {

/// Whether the product is of that kind; also, rows and columns of C are whole tiles.
bool is_narrow_product(const MatmulCall& call);

/// C = Aᵀ B, or += with `accumulate`. The sum's order is that of k, whatever the number of threads. Threads over batch
/// x tiles of C.
void narrow_product(const MatmulCall& call, const float* a, const float* b, float* c);

}  // namespace rwkvlab::kernels
